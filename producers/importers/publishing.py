"""IO: the recorded sessions of a file to Kafka; the file is done when Kafka has confirmed every event of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from procurator.clock import now_us
from procurator.errors import Backpressure, Unavailable
from procurator.events import SessionEvent
from procurator.producers.client import Procurator
from procurator.producers.errors import DeliveryFailed
from procurator.producers.importers import ImportFailed, ImportOptions, read_sessions

#: How long Kafka may take nothing before an import gives up; it can be repeated.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Published:
    """A session of a file all of whose events Kafka has confirmed."""

    source: str
    position: int
    session_id: str
    events: int
    estimated: list[str]


def publish_file(
    procurator: Procurator,
    path: Path,
    format_name: str,
    options: ImportOptions,
    on_progress: Callable[[int], None] = lambda events: None,
) -> Iterator[Published | ImportFailed]:
    """Publish the sessions in a file; yield them once Kafka has confirmed them all, and what failed, in file order.

    ``on_progress`` is called with the number of events of each session handed over. What has no time of its own is
    taken to have started when the file was last written. Raises Unavailable when Kafka takes nothing for PATIENCE_S.
    """
    source = str(path)
    try:
        data = path.read_bytes()
        started_us = min(path.stat().st_mtime_ns // 1000, now_us())
    except OSError as error:
        yield ImportFailed(source, 0, "cannot be read", error.strerror or str(error))
        return
    found: list[Published | ImportFailed] = []
    for session in read_sessions(source, data, format_name, options, started_us):
        if isinstance(session, ImportFailed):
            found.append(session)
            continue
        for event in session.events:
            _publish(procurator, event)
        on_progress(len(session.events))
        found.append(Published(source, session.position, session.session_id, len(session.events), session.estimated))
    yield from _confirmed(procurator, found)


def _publish(procurator: Procurator, event: SessionEvent) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            procurator.publish(event)
            return
        except Backpressure as error:  # It has waited for room by itself.
            if time.monotonic() >= give_up_at:
                raise Unavailable(f"{error}; importing the same files again completes them") from error


def _confirmed(procurator: Procurator, found: list[Published | ImportFailed]) -> Iterator[Published | ImportFailed]:
    missing: Counter[str] = Counter()
    try:
        procurator.flush(PATIENCE_S)
    except DeliveryFailed as failure:
        missing.update(event.session_id for event in failure.failed)
        missing.update({entry.session_id: entry.count for entry in failure.unconfirmed})
    for session in found:
        if isinstance(session, Published) and (count := missing[session.session_id]):
            where = f"record {session.position} (session {session.session_id})"
            reason = f"{count} of {session.events} events are not confirmed by Kafka; import the file again"
            yield ImportFailed(session.source, session.position, where, reason)
        else:
            yield session
