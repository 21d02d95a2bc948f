"""IO: record what the two JVMs load and link while they start, so that later starts skip that work.

JDK 25 writes such an ahead-of-time cache when a JVM ends (JEP 483, 514): Kafka then starts in half the time, on
half the CPU. It is a convenience: a JVM whose cache is missing or of another JDK starts without it.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from procurator.deploy.embedded.components import START_CACHE
from procurator.deploy.embedded.download import cache_lock
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.provision import Provisions
from procurator.deploy.embedded.stack import Stack, StackConfig

_RECORDED = ("kafka", "registry")


def is_warm(provisions: Provisions) -> bool:
    """Say whether every cache is there."""
    return all(provisions.start_cache(name).exists() for name in _RECORDED)


def warm(provisions: Provisions, waiting: Callable[[], None]) -> None:
    """Start and stop the two servers once on a scratch data directory, and keep the caches they write.

    Raises UserError or OSError when that does not work; everything else works without.
    """
    with (
        cache_lock(provisions.cache_dir, waiting),
        tempfile.TemporaryDirectory(dir=provisions.cache_dir, prefix=".warm-") as scratch,
    ):
        if is_warm(provisions):
            return
        config = StackConfig(Path(scratch), Ports.free(), frozenset(_RECORDED), provisions.cache_dir, recording=True)
        with Stack(config) as stack:
            pass
        for name in _RECORDED:
            os.replace(stack.layout.of(name) / START_CACHE, provisions.start_cache(name))
