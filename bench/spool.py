"""What the spool of the SDK takes and gives back: the same turns, durable in groups, and replayed to Kafka.

That nothing is lost when processes are killed meanwhile is for `tests/integration/test_sdk_spool.py` to show.
"""

import time
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from procurator.producers import Procurator

_EVENTS = 50_000
_GROUP = 1_000


def measure_spool(bootstrap_servers: str, registry_url: str, texts: list[str]) -> dict[str, int]:
    """Return ``spool_events_per_s`` and ``replayed_events_per_s``.

    The former without a registry, until each group of 1,000 is on disk and synced; the latter from the start of an SDK
    that finds them there until Kafka has confirmed them all.
    """
    with TemporaryDirectory(prefix="procurator-bench-spool-") as folder:
        spooled_s = _spool(_sdk(bootstrap_servers, "http://127.0.0.1:9", folder), texts)
        began_s = time.perf_counter()
        with _sdk(bootstrap_servers, registry_url, folder) as procurator:
            procurator.connect()
            while any(Path(folder).rglob("*.seg")):
                time.sleep(0.01)
        replayed_s = time.perf_counter() - began_s
    return {"spool_events_per_s": round(_EVENTS / spooled_s), "replayed_events_per_s": round(_EVENTS / replayed_s)}


def _sdk(bootstrap_servers: str, registry_url: str, folder: str) -> Procurator:
    return Procurator(
        kafka_bootstrap_servers=bootstrap_servers,
        schema_registry_url=registry_url,
        spool_dir=folder,
        control=False,
        environment={},
    )


def _spool(procurator: Procurator, texts: list[str]) -> float:
    """Return the seconds that it took."""
    session = procurator.session(agent="bench").start()
    procurator.confirm(30)
    began_s = time.perf_counter()
    for number, text in enumerate(islice(cycle(texts), _EVENTS), 1):
        session.turn("assistant", text)
        if number % _GROUP == 0:
            procurator.confirm(30)
    took_s = time.perf_counter() - began_s
    if procurator.close(0) < _EVENTS:
        raise AssertionError("events are not on disk")
    return took_s
