"""What a figure was measured on: without it a figure says nothing."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: The distributions whose versions move the figures.
_MATTER = (
    "chdb",
    "clickhouse-connect",
    "confluent-kafka",
    "aiokafka",
    "faust-streaming",
    "fastavro",
    "pyarrow",
    "quixstreams",
)


def machine() -> dict[str, Any]:
    """Return processor, cores available, memory in GiB, system and date."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of each library that matters and is installed."""
    found = {"python": platform.python_version()}
    for name in _MATTER:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the most memory that a process was resident with, and what it is resident with now, in MiB (Linux)."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    kib = {line[0]: int(line[1]) for line in lines if line[0] in ("VmHWM:", "VmRSS:")}
    return kib["VmHWM:"] / 1024, kib["VmRSS:"] / 1024
