"""What the components of a stack take of the processors. Says little of a second, much of what a rate is bounded by."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from procurator.deploy.embedded.stack import Stack


class Usage:
    """Processor seconds of each component since `begin`; empty where the system does not say (it has no /proc)."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = _cpu_s(pids)

    @classmethod
    def begin(cls, stack: Stack, components: Iterable[str]) -> Self:
        """Begin to count."""
        return cls({name: stack.pid(name) for name in components})

    def cpu_s(self) -> dict[str, float]:
        """Return the processor seconds since the beginning, user's and system's, of all threads."""
        return {name: seconds - self._before[name] for name, seconds in _cpu_s(self._pids).items()}


def _cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    found = {}
    for name, pid in pids.items():
        path = Path(f"/proc/{pid}/stat")
        if path.exists():
            # proc(5): the name in brackets may hold anything; utime and stime are the 14th and 15th field.
            user, system = path.read_text().rpartition(")")[2].split()[11:13]
            found[name] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return found
