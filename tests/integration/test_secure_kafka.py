"""Kafka with TLS, SCRAM users and ACLs: every component works with what `topic_access` grants it, and with no more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.components import INFRASTRUCTURE, Plan
from procurator.deploy.embedded.layout import Ports, free_ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.topic_access import NEEDS, grants
from procurator.topics import SESSION_EVENTS

_ARRIVED_S = 90.0
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}
_AGENT = """
from procurator.producers import Procurator
with Procurator(org_id="acme", owner_team_id="care") as procurator:
    with procurator.session(agent="billing", user="ada") as session:
        session.turn("user", "I was charged twice.")
    print(session.session_id)
    procurator.flush(30)
"""


class Secured:
    """A stack without our components, whose Kafka has a second listener: TLS, SCRAM, ACLs."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.ca_file = folder / "ca.pem"
        self._key, certificate = _self_signed()
        self.ca_file.write_text(certificate)
        self._certificate = certificate
        self.stack = Stack(
            StackConfig(folder / "data", Ports.free(), INFRASTRUCTURE, say=print, kafka_properties=self._properties)
        )

    def _properties(self, plan: Plan) -> str:
        plain, controller = f"PLAINTEXT://{plan.kafka}", f"CONTROLLER://127.0.0.1:{plan.controller_port}"
        secure = f"SECURE://127.0.0.1:{self.port}"
        return (
            f"listeners={plain},{controller},{secure}\n"
            f"advertised.listeners={plain},{secure}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n"
            "listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512\n"
            "listener.name.secure.scram-sha-512.sasl.jaas.config="
            "org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
            "listener.name.secure.ssl.keystore.type=PEM\n"
            f"listener.name.secure.ssl.keystore.key={_one_line(self._key)}\n"
            f"listener.name.secure.ssl.keystore.certificate.chain={_one_line(self._certificate)}\n"
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
            "super.users=User:ANONYMOUS\n"
        )

    def admit(self) -> None:
        """Create the users and grant what `topic_access` says, as an administrator would."""
        admin = AdminClient({"bootstrap.servers": self.stack.kafka})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users = [UserScramCredentialUpsertion(user, scram, _password(user).encode()) for user in NEEDS]
        bindings = [
            AclBinding(
                _RESOURCES[grant.resource],
                grant.name,
                ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
                f"User:{grant.user}",
                "*",
                _OPERATIONS[grant.operation],
                AclPermissionType.ALLOW,
            )
            for grant in grants()
        ]
        for future in (*admin.alter_user_scram_credentials(users).values(), *admin.create_acls(bindings).values()):
            future.result(30)

    def client(self, user: str) -> dict[str, str]:
        """Return librdkafka's configuration of ``user``."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.port}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": _password(user),
        }

    def environment(self, user: str, component: str = "admin") -> dict[str, str]:
        """Return the settings of a component that is ``user`` at Kafka."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROCURATOR_")}
        return {
            **inherited,
            **self.stack.env(component),
            "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port}",
            "PROCURATOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "PROCURATOR_KAFKA_CA_FILE": str(self.ca_file),
            "PROCURATOR_KAFKA_USERNAME": user,
            "PROCURATOR_KAFKA_PASSWORD": _password(user),
        }


def _password(user: str) -> str:
    return f"{user}-secret"


def _one_line(pem: str) -> str:
    return pem.strip().replace("\n", "\\n")


def _self_signed() -> tuple[str, str]:
    """Return a private key and its certificate for 127.0.0.1, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=6))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("secured"))
    with secured.stack:
        secured.admit()
        done = _procurator(secured.environment("setup"), "setup")
        assert done.returncode == 0, done.stderr
        yield secured


def _procurator(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procurator", *command], env=environment, capture_output=True, text=True, check=False
    )


def test_every_component_works_with_what_it_is_granted(secured: Secured, tmp_path: Path) -> None:
    with ExitStack() as running:
        logs = {}
        for component in ("sink", "stream", "sign", "api", "forward"):
            logs[component] = tmp_path / f"{component}.log"
            process = subprocess.Popen(
                [sys.executable, "-m", "procurator", component],
                env=secured.environment(component, component),
                cwd=tmp_path,
                stdout=running.enter_context(logs[component].open("w")),
                stderr=subprocess.STDOUT,
            )
            running.callback(process.wait, 60)
            running.callback(process.terminate)
        agent = subprocess.run(
            [sys.executable, "-c", _AGENT],
            env=secured.environment("sdk"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert agent.returncode == 0, agent.stderr
        clickhouse = ClickHouse(secured.stack.clickhouse_url, "admin", secured.stack.admin_key, "procurator")
        with closing(clickhouse):
            sql = (
                "SELECT (SELECT count() FROM events WHERE session_id = {id:UUID}),"
                " (SELECT count() FROM sessions FINAL WHERE session_id = {id:UUID} AND status = 'COMPLETED'),"
                " (SELECT count() > 0 FROM ledger_control)"
            )
            began_s = time.monotonic()
            while clickhouse.rows(sql, {"id": agent.stdout.strip()}) != [[3, 1, 1]]:
                said = {name: log.read_text()[-1500:] for name, log in logs.items()}
                assert time.monotonic() - began_s < _ARRIVED_S, said
                time.sleep(0.1)
            _show(secured, agent.stdout.strip(), logs)
            _purge(secured, clickhouse, tmp_path)


def _show(secured: Secured, session_id: str, logs: dict[str, Path]) -> None:
    """Have the API show the session, once it has told the audit, and the forwarder keep a webhook."""
    key = {"Authorization": f"Bearer {secured.stack.admin_key}"}
    hook = {"name": "n", "url": "https://hooks.invalid/", "org_id": "acme"}
    began_s = time.monotonic()
    with httpx.Client(base_url=f"{secured.stack.api_url}/v1", headers=key, timeout=30, trust_env=False) as api:
        while not _answers(api, f"/sessions/{session_id}"):
            assert time.monotonic() - began_s < _ARRIVED_S, logs["api"].read_text()[-1500:]
            time.sleep(0.1)
        made = api.post("/webhooks", json=hook).raise_for_status().json()
        while not api.get(f"/webhooks/{made['endpoint_id']}").json()["positions"]:
            assert time.monotonic() - began_s < _ARRIVED_S, logs["forward"].read_text()[-1500:]
            time.sleep(0.1)


def _answers(api: httpx.Client, path: str) -> bool:
    try:
        return api.get(path).status_code == 200
    except httpx.TransportError:
        return False  # it is starting


def _purge(secured: Secured, clickhouse: ClickHouse, folder: Path) -> None:
    """Purge the only session: Kafka refuses the signer's user its tombstone, then takes it of retention's own."""
    (folder / "retention.toml").write_text("days = 0")
    own = {"PROCURATOR_RETENTION_FILE": str(folder / "retention.toml")}
    command = "retention", "run", "--no-export"
    there = "SELECT (SELECT count() > 0 FROM events), (SELECT count() FROM sessions FINAL)"
    began_s = time.monotonic()
    while (refused := _procurator(secured.environment("sign", "retention") | own, *command)).returncode == 0:
        assert "0 sessions removed" in refused.stdout  # the sink has not settled its heads yet
        assert time.monotonic() - began_s < _ARRIVED_S, refused.stderr
    assert "tombstones of purged sessions: Broker: Topic authorization failed" in refused.stderr
    assert clickhouse.rows(there) == [[1, 1]]
    done = _procurator(secured.environment("retention", "retention") | own, *command)
    assert done.returncode == 0, done.stderr
    assert "finished 1 purges" in done.stdout
    assert clickhouse.rows(there) == [[0, 0]]


def test_an_agent_may_not_read_what_others_write(secured: Secured) -> None:
    reader = Consumer({**secured.client("sdk"), "group.id": "procurator-sdk-spy"})
    with closing(reader):
        reader.assign([TopicPartition(SESSION_EVENTS.name, 0, 0)])
        message = reader.poll(30)
    assert message is not None
    assert message.error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_the_sink_may_not_write_what_it_reads(secured: Secured) -> None:
    refused: list[int] = []
    producer = Producer(secured.client("sink"))
    producer.produce(SESSION_EVENTS.name, b"forged", on_delivery=lambda error, _: refused.append(error.code()))
    assert producer.flush(30) == 0
    assert refused == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_who_gives_a_wrong_password_is_told(secured: Secured) -> None:
    environment = {**secured.environment("setup"), "PROCURATOR_KAFKA_PASSWORD": "wrong"}
    done = _procurator(environment, "setup", "--wait", "3")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
