"""A forwarder on the real Kafka, registry and ClickHouse, and receivers on real sockets: good ones and bad ones."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.bench import corpus
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.config import Settings
from procurator.deploy.embedded.stack import Stack
from procurator.forwarder.batch import BatchPolicy
from procurator.forwarder.retry import RetryPolicy
from procurator.forwarder.sender import SendPolicy
from procurator.forwarder.service import Policies, serve
from procurator.kafka import Place, Topics, consumer_config, producer_config
from procurator.leaf import log_id
from procurator.registry import Registry
from procurator.sink.migrate import migrate
from procurator.topic_feed import Heard, TopicFeed
from procurator.topics import (
    AUDIT,
    SESSION_EVENTS,
    TOPICS,
    WEBHOOK_DEAD_LETTERS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_STATE,
    Topic,
)
from procurator.webhooks.endpoint import SESSION_KINDS, Endpoint, Filter, Format, Request, RequestKind, Secret
from procurator.webhooks.signature import new_secret, secret_bytes
from procurator.webhooks.state import DeadLetter, State
from procurator.webhooks.vault import Vault

KEY = "seals the secrets of the webhooks of these tests"
HOST = "hooks.example"
#: Patient enough for a busy machine; waits are of tests, not of people.
POLICIES = Policies(
    BatchPolicy(entries_max=50, linger_s=0.05),
    RetryPolicy(first_s=0.05, most_s=0.2, open_s=0.1, give_up_s=3600.0),
    SendPolicy(deadline_s=5.0),
    window_bytes=200_000,
)


def until(condition: Callable[[], Any], what: str = "", timeout_s: float = 90.0) -> Any:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + timeout_s
    tick = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, what or "in vain"
        tick.wait(0.02)
    return value


@dataclass
class Received:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def items(self) -> list[dict[str, Any]]:
        """The entries of a batch in our JSON."""
        return list(json.loads(self.body)["items"])


#: Answers one request, in place of 200.
Act = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Act:
    """Answer with a status."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", "5")
        handler.end_headers()
        handler.wfile.write(b"words")

    return act


class Receiver:
    """A server that keeps what it gets, by path, and does as each path's ``acts`` say, then answers 200."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: dict[str, list[Received]] = {}
        self.acts: dict[str, list[Act]] = {}
        #: Asked for each request of a path: what to do, None being 200.
        self.judges: dict[str, Callable[[Received], Act | None]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got = Received({name.lower(): value for name, value in self.headers.items()}, body, time.monotonic())
                receiver.received.setdefault(self.path, []).append(got)
                acts, judge = receiver.acts.get(self.path), receiver.judges.get(self.path)
                act = acts.pop(0) if acts else judge(got) if judge else None
                (act or status(200))(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a caller that has had enough

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.port}{path}"

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return all entries that came to a path, repeats included."""
        return [item for got in list(self.received.get(path, ())) for item in got.items]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Names:
    """What names resolve to; each look-up takes the next answer of a name, the last one for good."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        answers = self.answers.get(host, ["127.0.0.1"])
        return [answers.pop(0) if len(answers) > 1 else answers[0]]


class Hooks:
    """Endpoints as the API would make them, entries to be delivered, and what the forwarder says of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.vault = Vault(KEY)
        self.states: dict[str, State] = {}
        self.letters: dict[str, DeadLetter] = {}
        self.wanted: set[str] = set()
        self.registry = Registry(settings.schema_registry_url)
        self._producer = Producer(producer_config(settings.kafka_bootstrap_servers, **{"linger.ms": 0}))
        topics = (WEBHOOK_STATE, WEBHOOK_DEAD_LETTERS, WEBHOOK_ENDPOINTS)
        self._feed = TopicFeed(settings.kafka_bootstrap_servers, self.registry, topics, self._take)
        self._feed.start()
        self.clear()

    def make(self, url: str, org_id: str | None, secret: str = "", **fields: Any) -> Endpoint:
        """Make an endpoint; it gets the session events of an organisation unless ``filter`` says otherwise."""
        endpoint_id, at_us = uuid4().hex[:16], now_us()
        sealed = self.vault.seal(secret_bytes(secret or new_secret()), endpoint_id)
        made = Endpoint(
            **{
                "endpoint_id": endpoint_id,
                "org_id": org_id,
                "name": "n",
                "url": url,
                "format": Format.JSON,
                "filter": Filter(frozenset(SESSION_KINDS)),
                "enabled": True,
                "secrets": (Secret(sealed, at_us),),
                "token": None,
                "requests": (),
                "revision": 0,
                "created_at": at_us,
                "created_by": "t",
                "changed_at": at_us,
                "changed_by": "t",
                **fields,
            }
        )
        return self.put(made)

    def put(self, endpoint: Endpoint) -> Endpoint:
        self.send(WEBHOOK_ENDPOINTS, endpoint.endpoint_id, endpoint.to_record())
        return endpoint

    def ask(self, endpoint: Endpoint, kind: RequestKind, **what: Any) -> State:
        """Ask for something, and return the state once it is done."""
        request = Request(str(uuid4()), kind, now_us(), "t", **what)
        self.put(endpoint.asked(request))
        until(lambda: request.request_id in self.state(endpoint).handled, f"{kind} was not done")
        return self.state(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        self.send(WEBHOOK_ENDPOINTS, endpoint.endpoint_id, None)

    def state(self, endpoint: Endpoint) -> State:
        return self.states.get(endpoint.endpoint_id, State(endpoint.endpoint_id, {}))

    def letters_of(self, endpoint: Endpoint) -> list[DeadLetter]:
        return [letter for letter in list(self.letters.values()) if letter.endpoint_id == endpoint.endpoint_id]

    def publish(self, org_id: str, sessions: int = 3, **fields: Any) -> list[dict[str, Any]]:
        """Publish whole sessions of an organisation, interleaved; return the records in the order of their sending."""
        made = [list(each) for each in corpus.whole_sessions(sessions, seed=int(uuid4()) % 2**32)]
        records = []
        while any(made):
            for session in made:
                if session:
                    event = session.pop(0)
                    records.append({**event.record, "org_id": org_id, **fields})
        for record in records:
            self.send(SESSION_EVENTS, record["session_id"], record, wait=False)
        assert self._producer.flush(30) == 0
        return records

    def audit(self, org_id: str) -> dict[str, Any]:
        """Publish an audit event of an organisation, and return it."""
        texts = dict.fromkeys(("resource", "owner_team_id", "purpose", "filter", "request_id", "details"))
        who = {"org_id": org_id, "principal": "ann", "action": "sessions.read", "outcome": "ALLOWED"}
        numbers = {"sequence": 0, "occurred_at": now_us(), "nonce": bytes(16), "item_count": 1, "remote_address": None}
        event = {"event_id": str(uuid4()), "emitter_id": "test", **numbers, **who, **texts}
        self.send(AUDIT, "ann", event)
        return event

    def read(self, topic: Topic, event_ids: set[str]) -> tuple[Place, list[tuple[int, int, bytes]]]:
        """Return where these events stand (one partition), and offset, broker time in µs and bytes of each."""
        topics = Topics(self.settings.kafka_bootstrap_servers)
        count = topics.describe([topic.name])[topic.name][1]
        bounds = topics.bounds([(topic.name, n) for n in range(count)])
        config = consumer_config(self.settings.kafka_bootstrap_servers, "test-hooks")
        consumer = Consumer({**config, "log_level": 0})
        consumer.assign([TopicPartition(*place, start) for place, (start, _) in bounds.items()])
        decoder = Decoder(load_schema(topic.schema), self.registry.fetch)
        found: list[Any] = []
        until_s = time.monotonic() + 90
        while len(found) < len(event_ids):
            assert time.monotonic() < until_s
            message = consumer.poll(0.5)
            if message is None or message.error():
                continue
            if decoder.decode(message.value())["event_id"] in event_ids:
                found.append(message)
        consumer.close()
        place = found[0].topic(), found[0].partition()
        return place, [(each.offset(), each.timestamp()[1] * 1000, each.value()) for each in found]

    def log_id(self, place: Place) -> str:
        topics = Topics(self.settings.kafka_bootstrap_servers)
        return log_id(topics.describe([place[0]])[place[0]][0], place[1])

    def keep_in_ledger(self, settings: Settings, place: Place, records: list[tuple[int, int, bytes]]) -> None:
        """Put audit records into the ledger, by the columns that say where they stand."""
        clickhouse = ClickHouse.of(settings)
        for offset, time_us, value in records:
            clickhouse.execute(
                "INSERT INTO audit (log_id, offset, broker_time, value)"
                f" SELECT '{self.log_id(place)}', {offset}, fromUnixTimestamp64Micro({time_us}), unhex('{value.hex()}')"
            )
        clickhouse.close()

    def delete_up_to(self, place: Place, offset: int) -> None:
        """Have Kafka forget a partition up to an offset, that one included, as its retention does."""
        admin = AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap_servers})
        (future,) = admin.delete_records([TopicPartition(*place, offset + 1)]).values()
        future.result()

    def send(self, topic: Topic, key: str, record: dict[str, Any] | None, wait: bool = True) -> None:
        schema = load_schema(topic.schema)
        value = None if record is None else schema.encode(record, self.registry.schema_id(schema) if wait else self._id)
        self._producer.produce(topic.name, value, key)
        if wait:
            assert self._producer.flush(30) == 0

    @property
    def _id(self) -> int:
        if not hasattr(self, "_events_schema_id"):
            self._events_schema_id = self.registry.schema_id(load_schema(SESSION_EVENTS.schema))
        return self._events_schema_id

    def clear(self) -> None:
        """Remove every endpoint: tests of the API on this Kafka make hundreds that want all there is."""
        self._feed.catch_up()
        for endpoint_id in list(self.wanted):
            self.send(WEBHOOK_ENDPOINTS, endpoint_id, None, wait=False)
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        self.clear()
        self._feed.close()
        self.registry.close()

    def _take(self, heard: list[Heard]) -> None:
        for topic, _, key, record in heard:
            kept: dict[str, Any] = self.states if topic == WEBHOOK_STATE else self.letters
            if topic == WEBHOOK_ENDPOINTS:
                (self.wanted.discard if record is None else self.wanted.add)(key.decode())
            elif record is None:
                kept.pop(key.decode(), None)
            else:
                kept[key.decode()] = (State if topic == WEBHOOK_STATE else DeadLetter).from_record(record)


@pytest.fixture(scope="module")
def settings(broker_stack: Stack) -> Iterator[Settings]:
    """Topics, schemas and an empty ledger; webhooks may go to this machine."""
    clickhouse = ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, f"hooks_{uuid4().hex[:8]}")
    migrate(clickhouse)
    registry = Registry(broker_stack.registry_url)
    for topic in TOPICS:
        registry.register(load_schema(topic.schema))
    registry.close()
    Topics(broker_stack.kafka).ensure(TOPICS, Settings().partitions, 1)
    yield Settings(
        kafka_bootstrap_servers=broker_stack.kafka,
        schema_registry_url=broker_stack.registry_url,
        clickhouse_url=broker_stack.clickhouse_url,
        clickhouse_user="admin",
        clickhouse_password=SecretStr(broker_stack.admin_key),
        clickhouse_database=clickhouse.database,
        webhook_key=SecretStr(KEY),
        webhook_private_networks="127.0.0.1/32",
    )
    clickhouse.close()


@pytest.fixture(scope="module")
def hooks(settings: Settings) -> Iterator[Hooks]:
    found = Hooks(settings)
    yield found
    found.close()


@pytest.fixture(scope="module")
def names() -> Names:
    return Names()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `HOST`, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, *form)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(scope="module")
def secure_receiver(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    found = Receiver(context)
    yield found
    found.close()


@pytest.fixture(scope="module")
def forwarder(settings: Settings, names: Names, certificate: Path) -> Iterator[None]:
    """One that runs in a thread, with waits that suit a test, and trusts the certificate."""
    stop, ready, ended = threading.Event(), threading.Event(), Future[None]()
    trusted = ssl.create_default_context(cafile=str(certificate))

    def run() -> None:
        try:
            asyncio.run(serve(settings, stop, ready.set, names, trusted, replace(POLICIES)))
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - shown to whoever waits for the end
            ended.set_exception(error)
        ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(90)
    if ended.done():
        ended.result()
    yield
    stop.set()
    ended.result(30)


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    return until


@pytest.fixture(name="status")
def _status() -> Callable[..., Act]:
    """Answers with a status."""
    return status


@pytest.fixture
def org() -> str:
    """An organisation of the test's own: what others publish does not match."""
    return f"org-{uuid4().hex[:8]}"


@pytest.fixture
def path() -> str:
    """A receiver's path of the test's own."""
    return f"/{uuid4().hex}"
