"""Events while there is no Kafka: on disk, in order, durable when asked; and when there is no disk either."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from procurator.avro_schemas.codec import Schema, load_schema
from procurator.errors import Backpressure, ProcuratorError, Unavailable, UserError
from procurator.producers.broker import Broker
from procurator.producers.delivery import Delivery
from procurator.producers.errors import DeliveryFailed, Dropped, Unconfirmed
from procurator.producers.frames import Head, Record, scan
from procurator.producers.outbox import QueuePolicy
from procurator.producers.spool import Spool

HEAD = Head(schema="{}", cluster="nowhere:9")


def away() -> Broker:
    raise Unavailable("Kafka at nowhere:9 does not answer")


@contextmanager
def kept(delivery: Delivery) -> Iterator[Delivery]:
    """Do what the keeper thread does."""
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            delivery.woken.wait(min(delivery.serve(), 0.01))
            delivery.woken.clear()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield delivery
    finally:
        over.set()
        thread.join()
        delivery.close()


def to_disk(folder: Path, policy: QueuePolicy | None = None, connect: Callable[[], Broker] = away) -> Delivery:
    return Delivery(connect, policy or QueuePolicy(), Spool(folder, HEAD, 1 << 20))


def on_disk(folder: Path) -> list[Record]:
    return [record for path in sorted(folder.rglob("*.seg")) for record in scan(path.read_bytes()).records]


def test_events_go_to_disk_in_order_and_are_durable_when_asked(tmp_path: Path) -> None:
    sent = [(b"key", b"%d" % n) for n in range(500)]
    with kept(to_disk(tmp_path)) as delivery:
        for record in sent[:400]:
            delivery.send(*record)
        delivery.confirm(10)
        assert on_disk(tmp_path) == sent[:400]
        for record in sent[400:]:
            delivery.send(*record)
        assert delivery.flush(0.01) == 500
    assert on_disk(tmp_path) == sent


def test_an_impatient_flush_does_not_wait_for_what_is_known_to_be_away(tmp_path: Path) -> None:
    with kept(to_disk(tmp_path)) as delivery:
        delivery.send(b"key", b"body")
        assert delivery.flush(3600, patient=False) == 1


class Silent:
    """Stands for a broker that takes everything and confirms nothing; `recall` gives it all back."""

    header = b""
    refused_count = 0

    def __init__(self) -> None:
        self.taken: list[Record] = []
        self.returned: list[Record] = []
        self.confirmed = 0

    @property
    def outstanding(self) -> int:
        return len(self.taken)

    def send(self, key: bytes, body: bytes, _header: bytes | None = None) -> None:
        self.taken.append((key, body))

    def serve(self, _wait_s: float = 0.0) -> None: ...

    def drain(self, _wait_s: float) -> bool:
        return not self.taken

    def recall(self) -> list[Record]:
        taken, self.taken = self.returned + self.taken, []
        return taken


def test_what_kafka_never_confirmed_stands_before_what_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procurator.producers.connection.STALL_S", 0.05)
    silent = Silent()
    older, newer = [(b"key", b"%d" % n) for n in range(5)], [(b"key", b"%d" % n) for n in range(5, 10)]
    spool = Spool(tmp_path, HEAD, 1 << 20)
    delivery = Delivery(lambda: cast(Broker, silent), QueuePolicy(), spool)
    for record in older:
        delivery.send(*record)
    served_until(delivery, lambda: silent.taken == older)
    served_until(delivery, lambda: delivery._connection.away is not None)
    for record in newer:
        delivery.send(*record)
    served_until(delivery, lambda: on_disk(tmp_path) == newer)
    delivery.close()
    assert on_disk(tmp_path) == older + newer


def test_events_given_back_before_a_replay_are_not_taken_for_its_own(tmp_path: Path) -> None:
    failed = Silent()
    spool = Spool(tmp_path, HEAD, 1 << 20)
    spool.append([(b"key", b"newer")])
    brokers = [failed, Silent()]
    delivery = Delivery(lambda: cast(Broker, brokers.pop(0)), QueuePolicy(), spool)
    delivery.check()
    failed.returned.append((b"key", b"older"))
    with delivery._serving:
        delivery._catch_up_from(spool, cast(Broker, failed))
    delivery.serve()
    delivery.close()
    assert on_disk(tmp_path) == [(b"key", b"older"), (b"key", b"newer")]


class Taking(Silent):
    """Stands for a broker that confirms at once, and a registry that knows the schemas in ``known``."""

    def __init__(self, known: dict[str, bytes | ProcuratorError]) -> None:
        super().__init__()
        self.known = known
        self.recalled = 0

    @property
    def outstanding(self) -> int:
        return 0

    def drain(self, _wait_s: float) -> bool:
        return True

    def recall(self) -> list[Record]:
        self.recalled += 1
        return []

    def header_of_text(self, text: str) -> bytes:
        answer = self.known[text]
        if isinstance(answer, ProcuratorError):
            raise answer
        return answer


def left(folder: Path, head: Head, *records: Record) -> None:
    """Be a process that died with events on disk."""
    dead = Spool(folder, head, 1 << 20)
    dead.append(records)
    dead.close()


OWN = Head(schema=load_schema("session_event").text, cluster=HEAD.cluster)


def test_a_segment_whose_schema_the_registry_lacks_is_put_aside_and_keeps_nothing_else_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = UserError("procurator.v1.SessionEvent is not in the registry: run `procurator setup`")
    broker = Taking({"{}": b"", '"unknown"': lacking})
    left(tmp_path, Head('"unknown"', HEAD.cluster), (b"key", b"of another version"))
    left(tmp_path, HEAD, (b"key", b"adopted"))
    delivery = Delivery(lambda: cast(Broker, broker), QueuePolicy(), Spool(tmp_path, OWN, 1 << 20))
    delivery.check()
    delivery.send(b"key", b"ours")
    served_until(delivery, lambda: (b"key", b"ours") in broker.taken)
    assert broker.taken == [(b"key", b"adopted"), (b"key", b"ours")]
    assert (broker.recalled, delivery._connection.away) == (0, None)
    (kept,) = tmp_path.rglob("corrupt/*.seg")
    assert scan(kept.read_bytes()).records == [(b"key", b"of another version")]
    (line,) = caplog.messages
    assert "cannot be sent: procurator.v1.SessionEvent is not in the registry: run `procurator setup`" in line
    assert line.endswith(str(kept))
    delivery.close()


def test_a_registry_that_is_away_is_no_fault_of_the_segment(tmp_path: Path) -> None:
    broker = Taking({"{}": Unavailable("schema registry does not answer")})
    left(tmp_path, HEAD, (b"key", b"adopted"))
    delivery = Delivery(lambda: cast(Broker, broker), QueuePolicy(), Spool(tmp_path, OWN, 1 << 20))
    delivery.check()
    served_until(delivery, lambda: broker.recalled > 0)
    broker.known = {"{}": b""}
    served_until(delivery, lambda: broker.taken == [(b"key", b"adopted")])
    served_until(delivery, lambda: not list(tmp_path.rglob("*.seg")))
    delivery.close()


class BadDisk:
    """Lets no segment whose file is in ``unreadable`` be read, and counts who tries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unreadable: set[Path] = set()
        self.tries = 0
        read_bytes = Path.read_bytes

        def read(path: Path) -> bytes:
            if path in self.unreadable:
                self.tries += 1
                raise OSError(errno.EIO, "Input/output error")
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", read)


def test_an_adopted_segment_that_cannot_be_read_is_kept_and_keeps_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, broker = BadDisk(monkeypatch), Taking({})
    left(tmp_path, OWN, (b"key", b"adopted"))
    disk.unreadable = set(tmp_path.rglob("*.seg"))
    delivery = Delivery(lambda: cast(Broker, broker), QueuePolicy(), Spool(tmp_path, OWN, 1 << 20))
    delivery.check()
    delivery.send(b"key", b"ours")
    served_until(delivery, lambda: broker.taken == [(b"key", b"ours")])
    for _ in range(100):
        delivery.serve()
    assert (disk.tries, broker.recalled) == (1, 0)
    disk.unreadable.clear()
    delivery._adopt_at_s = 0.0
    served_until(delivery, lambda: broker.taken[1:] == [(b"key", b"adopted")])
    served_until(delivery, lambda: not list(tmp_path.rglob("*.seg")))
    delivery.close()


def test_our_own_segment_that_cannot_be_read_is_waited_for_and_not_reported_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, broker = BadDisk(monkeypatch), Taking({})
    brokers: list[Callable[[], Broker]] = [away, lambda: cast(Broker, broker)]
    connect = lambda: brokers.pop(0)()  # noqa: E731
    delivery = Delivery(connect, QueuePolicy(), Spool(tmp_path, OWN, 1 << 20))
    delivery.send(b"key", b"older")
    served_until(delivery, lambda: delivery.spooled == 1)
    disk.unreadable = set(tmp_path.rglob("*.seg"))
    delivery.send(b"key", b"newer")
    served_until(delivery, lambda: disk.tries == 1)
    receipt = delivery._outbox.ask(safe=False)
    for _ in range(100):
        delivery.serve()
    assert (disk.tries, broker.recalled, broker.taken) == (1, 0, [])
    assert not receipt.done.is_set()
    disk.unreadable.clear()
    delivery._read_at_s = 0.0
    served_until(delivery, lambda: broker.taken == [(b"key", b"older"), (b"key", b"newer")])
    served_until(delivery, receipt.done.is_set)
    assert delivery.spooled == 0
    delivery.close()


def test_only_a_registry_that_has_ours_can_lack_anothers_schema() -> None:
    text = '{"type": "record", "name": "v0", "fields": []}'
    registered = [load_schema("session_event").name]

    class Asking(Broker):
        def __init__(self) -> None: ...

        def header_of(self, schema: Schema) -> bytes:
            if schema.name not in registered:
                raise UserError(f"{schema.name} is not in the registry: run `procurator setup`")
            return schema.name.encode()

    broker = Asking()
    with pytest.raises(UserError, match=r"another version wrote it, whose schema must be registered: v0 is not in the"):
        broker.header_of_text(text)
    with pytest.raises(UserError, match="its schema cannot be read: not an Avro schema"):
        broker.header_of_text("{}")
    ours = registered.pop()
    with pytest.raises(Unavailable, match=f"{ours} is not in the registry"):
        broker.header_of_text(text)
    registered.append("v0")
    assert broker.header_of_text(text) == b"v0"


def served_until(delivery: Delivery, condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        delivery.serve()
        threading.Event().wait(0.002)
    pytest.fail("it did not come about")


def test_closing_writes_what_nobody_asked_for(tmp_path: Path) -> None:
    delivery = to_disk(tmp_path)
    delivery.send(b"key", b"body")
    delivery.close()
    assert on_disk(tmp_path) == [(b"key", b"body")]


def test_without_a_disk_events_wait_and_then_are_dropped_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool").write_text("no folder")
    with kept(to_disk(tmp_path / "spool", QueuePolicy(events_max=3))) as delivery:
        for _ in range(3):
            delivery.send(b"key", b"body")
        with pytest.raises(Unavailable, match=r"not durable after 2 s: .*spool does not take events: Not a dir"):
            delivery.confirm(2)
        with pytest.raises(Dropped, match="the spool does not take events: Not a directory"):
            delivery.send(b"key", b"body")
        with pytest.raises(DeliveryFailed) as failure:
            delivery.flush(0.01)
        assert failure.value.unconfirmed == (Unconfirmed("key", 3),)
    assert len([line for line in caplog.messages if "the spool does not take events" in line]) == 1


@pytest.mark.parametrize(("on_full", "error"), [("block", Backpressure), ("drop", Dropped)])
def test_without_a_spool_the_policy_decides(on_full: str, error: type[Backpressure]) -> None:
    policy = QueuePolicy(on_full, wait_s=0.05, events_max=2)  # type: ignore[arg-type]
    with kept(Delivery(away, policy, None)) as delivery:
        for _ in range(2):
            delivery.send(b"key", b"body")
        with pytest.raises(Backpressure) as refused:
            delivery.send(b"key", b"body")
        assert type(refused.value) is error
        with pytest.raises(DeliveryFailed, match="2 event\\(s\\) of 1 session\\(s\\) not confirmed by Kafka yet"):
            delivery.flush(0.01)


def test_the_reason_is_logged_once_and_whoever_asks_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> Broker:
        raise UserError("procurator.v1.SessionEvent is not in the registry: run `procurator setup`")

    with kept(to_disk(tmp_path, connect=refused)) as delivery:
        delivery.send(b"key", b"body")
        with pytest.raises(UserError, match="run `procurator setup`"):
            delivery.check()
        delivery.confirm(10)
        delivery.flush(0.7)
    assert len([line for line in caplog.messages if "they go to disk: procurator.v1.SessionEvent" in line]) == 1
