"""`Procurator`: one process's connection to the ledger, from which sessions are made."""

import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from procurator.avro_schemas.codec import load_schema
from procurator.clock import now_us
from procurator.errors import UserError
from procurator.events import INT_MAX, LABELS_MAX, SessionEvent
from procurator.producers.broker import Broker
from procurator.producers.calls import at_least_zero
from procurator.producers.control import SharedControl
from procurator.producers.controlled import OnSignal
from procurator.producers.defaults import Defaults
from procurator.producers.delivery import Delivery
from procurator.producers.delta_channel import DeltaChannel
from procurator.producers.delta_channel import connect as connect_deltas
from procurator.producers.entropy import random_16, random_uuid
from procurator.producers.envelope import Envelope
from procurator.producers.errors import DeliveryFailed
from procurator.producers.frames import Head
from procurator.producers.json_text import safe_text
from procurator.producers.limits import clean
from procurator.producers.link import Link
from procurator.producers.outbox import OnFull, QueuePolicy
from procurator.producers.redaction import Redactor, Rule
from procurator.producers.session import Emit, Hooks, Session
from procurator.producers.spool import Spool
from procurator.producers.transport import Transport
from procurator.topics import SESSION_EVENTS

log = logging.getLogger(__name__)

Initiator = Literal["USER", "SYSTEM"]
Origin = Literal["API", "SCHEDULE", "WORKFLOW", "A2A"]

#: A heartbeat tells a silent session from a dead one; more often than this they would only fill the ledger.
HEARTBEAT_S = 30.0
QUEUE_WAIT_S = 5.0
FLUSH_S = 30.0
RUNTIME = "procurator-sdk/0.1"

_all: "weakref.WeakSet[Procurator]" = weakref.WeakSet()
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


class Procurator:
    """Makes sessions and delivers their events. Make one a process; threads and tasks share it.

    It connects when the first session starts, and delivers what is queued when its block is left, when it is
    collected, or when the interpreter exits. Leaving the block raises DeliveryFailed if Kafka did not confirm all.
    """

    def __init__(
        self,
        *,
        org_id: str | None = None,
        owner_team_id: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        kafka_bootstrap_servers: str | None = None,
        schema_registry_url: str | None = None,
        emitter_id: str | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        on_full: OnFull | None = None,
        queue_wait_s: float = QUEUE_WAIT_S,
        spool_dir: str | os.PathLike[str] | None = None,
        spool_bytes_max: int | None = None,
        flush_s: float = FLUSH_S,
        control: bool | None = None,
        redact: Sequence[Rule] | None = None,
        clock: Callable[[], int] = now_us,
        transport: Transport | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Take defaults for every session; what is None comes from the environment (``PROCURATOR_ORG_ID``, …).

        ``heartbeat_s``: a session silent for so long says that it lives. ``on_full``: what happens to events that Kafka
        does not take, see `QueuePolicy`; ``queue_wait_s``: how long a call may wait for room. ``spool_dir`` holds them
        on disk, at most ``spool_bytes_max``. ``flush_s``: how long closing waits for Kafka. ``control``: whether
        sessions obey signals (terminate, pause, resume), by default they do. ``redact``: rules by which texts are
        masked before the write (see `redaction`), by default none. ``clock`` gives ``occurred_at`` in µs
        since the epoch. ``transport`` replaces Kafka, see `procurator.producers.memory`. Raises UserError for a
        variable that makes no sense.
        """
        self._defaults = Defaults.from_environment(environment)
        self._org_id = org_id or self._defaults.org_id
        self._owner_team_id = owner_team_id or self._defaults.owner_team_id
        self._agent = agent or self._defaults.agent_id
        self._user = user or self._defaults.user_id
        self._bootstrap_servers = kafka_bootstrap_servers or self._defaults.kafka_bootstrap_servers
        self._schema_registry_url = schema_registry_url or self._defaults.schema_registry_url
        self.emitter_id = clean(emitter_id) if emitter_id else f"runtime-{random_16().hex()}"
        self._heartbeat_s = heartbeat_s
        self._policy = QueuePolicy(on_full or self._defaults.when_full, queue_wait_s)
        self._spool_dir = Path(spool_dir or self._defaults.spool_dir).expanduser()
        self._spool_bytes_max = spool_bytes_max or self._defaults.spool_size
        self._flush_s = flush_s
        self._control = self._defaults.obeys if control is None else control
        rules = self._defaults.rules if redact is None else redact
        self._redactor = Redactor(rules) if rules else None
        self._clock = clock
        self._given_transport = transport
        self._deltas = DeltaChannel(
            partial(connect_deltas, self._bootstrap_servers, self._schema_registry_url), self._clock
        )
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        _all.add(self)

    def session(
        self,
        agent: str | None = None,
        user: str | None = None,
        *,
        agent_name: str | None = None,
        org_id: str | None = None,
        owner_team_id: str | None = None,
        team_id: str | None = None,
        team_name: str | None = None,
        initiator: Initiator | None = None,
        origin: Origin | None = None,
        schedule_id: str | None = None,
        workflow_id: str | None = None,
        workflow_run_id: str | None = None,
        parent_session_id: str | None = None,
        timeout_s: int | None = None,
        labels: Mapping[str, Any] | None = None,
        session_id: str | None = None,
        runtime: str = RUNTIME,
        on_signal: OnSignal | None = None,
        control: bool = True,
        durable: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> Session:
        """Return a session that starts when its block is entered.

        ``agent`` is the ``agent_id`` and, without ``agent_name``, the name too; ``user`` is the ``user_id``.
        ``initiator`` is USER where there is a user, else SYSTEM; ``origin`` follows from ``schedule_id``,
        ``workflow_id`` or ``parent_session_id``, else API. ``session_id`` is drawn unless given (a UUID). ``on_signal``
        is called with each signal to the session, in a thread of ours that serves every session: it must not wait.
        ``control=False`` lets this session ignore signals. ``durable``: each call returns only once its event would
        survive the death of this process, see `confirm`. Raises UserError for a value that makes no sense.
        """
        agent_id = safe_text(agent or self._agent)
        user_id = user or self._user
        fallback_name = agent_id if agent else self._defaults.agent_name or agent_id
        started = {
            "agent_name": agent_name or fallback_name,
            "team_id": team_id,
            "team_name": team_name,
            "user_id": user_id,
            "initiator": _one_of("initiator", initiator or ("USER" if user_id else "SYSTEM"), ("USER", "SYSTEM")),
            "origin": _one_of(
                "origin",
                origin or _origin(schedule_id, workflow_id, parent_session_id),
                ("API", "SCHEDULE", "WORKFLOW", "A2A"),
            ),
            "schedule_id": schedule_id,
            "workflow_id": workflow_id,
            "workflow_run_id": workflow_run_id,
            "parent_session_id": None if parent_session_id is None else _uuid("parent_session_id", parent_session_id),
            "timeout_s": at_least_zero("timeout_s", timeout_s, INT_MAX),
            "labels": _labels(labels or {}),
            "runtime": runtime,
        }
        session_id = random_uuid() if session_id is None else _uuid("session_id", session_id)
        emit = self._emitter(session_id, org_id or self._org_id, agent_id, owner_team_id or self._owner_team_id)
        opened = partial(self._opened, controlled=control)
        deltas = None
        if self._given_transport is None and self._redactor is None:  # A find may be spread over pieces.
            deltas = self._deltas.of_session(
                session_id=session_id,
                emitter_id=self.emitter_id,
                org_id=clean(org_id or self._org_id),
                agent_id=clean(agent_id),
                owner_team_id=clean(owner_team_id or self._owner_team_id),
            )
        hooks = Hooks(emit, opened, self._closed, self._lost, self.confirm, deltas)
        return Session(session_id, started, hooks, clock or self._clock, on_signal, durable)

    def publish(self, event: SessionEvent) -> None:
        """Send one event that is complete already, for example of a recorded session. Raises Backpressure."""
        if self._redactor is not None:
            kind, payload = event["payload"][0], dict(event["payload"][1])
            masked = self._redactor.redact(payload)
            event = {**event, "payload": (kind, payload), "redactions": [*event["redactions"], *masked]}
        self._connected().send(event["session_id"].encode(), event)

    def connect(self) -> None:
        """Connect now rather than in the background.

        Raises Unavailable when Kafka or the registry is away, UserError when they are not set up. Without it nobody
        is told but the log: events go to disk until they can be delivered.
        """
        self._connected().transport.check()

    def flush(self, deadline_s: float | None = None) -> int:
        """Wait until Kafka has confirmed every event so far, at most ``deadline_s``; what it has not is then on disk.

        Returns how many events of this process are on disk, 0 when all are confirmed. Raises DeliveryFailed saying
        exactly what is neither. Blocks: in asyncio use `asyncio.to_thread`.
        """
        return 0 if self._link is None else self._link.flush(self._flush_s if deadline_s is None else deadline_s)

    def confirm(self, deadline_s: float | None = None) -> None:
        """Return once every event so far is durable: confirmed by Kafka, or on disk (and synced); kill -9 loses none.

        Raises Unavailable when it is neither within ``deadline_s``. Blocks, usually for some ms.
        """
        if self._link is not None:
            self._link.transport.confirm(self._flush_s if deadline_s is None else deadline_s)

    def close(self, deadline_s: float | None = None) -> int:
        """Do as `flush`, and let go of the connection; a later session connects again.

        A Kafka that is known to be away is not waited for: events go to disk at once.
        """
        with self._lock:
            link, self._link = self._link, None
            if self._finalizer is not None:
                self._finalizer.detach()
        return 0 if link is None else link.close(self._flush_s if deadline_s is None else deadline_s, patient=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except DeliveryFailed as failure:
            if error is None:
                raise
            log.error("%s", failure)  # What already leaves the block says more.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.__exit__, kind, error, at)

    def _emitter(self, session_id: str, org_id: str, agent_id: str, owner_team_id: str) -> Emit:
        key = session_id.encode()
        identity = session_id, clean(org_id), clean(agent_id), clean(owner_team_id), self._redactor
        envelope = Envelope(self.emitter_id, *identity)

        def emit(sequence: int, occurred_at: int, kind: str, payload: dict[str, Any], estimated: list[str]) -> None:
            nonlocal envelope
            if envelope.emitter_id is not self.emitter_id:  # We are a forked child.
                envelope = Envelope(self.emitter_id, *identity)
            body = envelope.encode(sequence, occurred_at, kind, payload, estimated)
            (self._link or self._connected()).transport.send(key, body)

        return emit

    def _connected(self) -> Link:
        with self._lock:
            if self._link is None:
                if self._given_transport is not None:
                    self._link = Link(self._given_transport, self._heartbeat_s, self._flush_s)
                else:
                    self._link = self._new_link()
                self._finalizer = weakref.finalize(self, self._link.orphan)
                self._finalizer.atexit = False  # The link sees to that by itself.
            return self._link

    def _new_link(self) -> Link:
        where = self._bootstrap_servers, self._schema_registry_url
        spool = None
        if self._policy.on_full == "spool":
            head = Head(load_schema(SESSION_EVENTS.schema).text, self._bootstrap_servers)
            spool = Spool(self._spool_dir, head, self._spool_bytes_max)
        delivery = Delivery(partial(Broker, *where), self._policy, spool)
        link = Link(delivery, self._heartbeat_s, self._flush_s, SharedControl(*where) if self._control else None)
        delivery.on_refused = link.refused
        return link

    def _forked(self) -> None:
        """Begin anew in a forked child, as another emitter: the parent goes on counting."""
        self._link = None  # `link` has forgotten it.
        self._lock = threading.Lock()
        self.emitter_id = f"{self.emitter_id[:64]}-fork-{random_16().hex()}"
        if self._finalizer is not None:
            self._finalizer.detach()

    def _opened(self, session: Session, controlled: bool) -> None:
        self._connected().opened(session, controlled)

    def _closed(self, session: Session) -> None:
        if self._link is not None:
            self._link.closed(session)

    def _lost(self, session: Session) -> None:
        if self._link is not None:
            self._link.lost(session)


def _labels(labels: Mapping[str, Any]) -> dict[str, str]:
    if len(labels) > LABELS_MAX:
        raise UserError(f"labels: {len(labels)} are given, a session has at most {LABELS_MAX}")
    return {clean(safe_text(name)): safe_text(value) for name, value in labels.items()}


def _origin(schedule_id: str | None, workflow_id: str | None, parent_session_id: str | None) -> Origin:
    if parent_session_id is not None:
        return "A2A"
    if workflow_id is not None:
        return "WORKFLOW"
    return "API" if schedule_id is None else "SCHEDULE"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UserError(f"{name}: {value!r} is none of {', '.join(known)}")
    return value


def _uuid(name: str, value: str) -> str:
    text = str(value).lower()
    if not _UUID(text):
        raise UserError(f"{name}: {value!r} is no UUID")
    return text


def _after_fork() -> None:
    for procurator in list(_all):
        procurator._forked()


os.register_at_fork(after_in_child=_after_fork)
