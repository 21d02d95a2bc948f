"""Settings: what is wrong in them is said once, by name."""

import pytest

from procurator import config, kafka
from procurator.errors import UserError


@pytest.fixture(autouse=True)
def _read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "settings", config.settings.__wrapped__)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "set PROCURATOR_KAFKA_USERNAME"),
        ({"KAFKA_USERNAME": "sink"}, "PROCURATOR_KAFKA_SECURITY_PROTOCOL is not SASL_"),
        ({"KAFKA_CA_FILE": "/ca.pem"}, "has no SSL in it"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "PROCURATOR_KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT'"),
        ({"OIDC_ISSUER": "https://id.example"}, "set PROCURATOR_OIDC_AUDIENCE"),
        ({"API_PORT": "http"}, "PROCURATOR_API_PORT: Input should be a valid integer"),
    ],
)
def test_contradictions_are_named(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"PROCURATOR_{name}", value)
    with pytest.raises(UserError, match=message) as raised:
        config.settings()
    assert "\n" not in str(raised.value)


def test_a_client_of_kafka_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    log = {"logger": kafka.librdkafka_log}
    assert kafka.client_config("broker:9092") == {"bootstrap.servers": "broker:9092", **log}
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "USERNAME": "sink",
        "PASSWORD": "secret",
        "CA_FILE": "/etc/ca.pem",
    }.items():
        monkeypatch.setenv(f"PROCURATOR_KAFKA_{name}", value)
    assert kafka.client_config("broker:9093") == {
        "bootstrap.servers": "broker:9093",
        **log,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/etc/ca.pem",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "sink",
        "sasl.password": "secret",
    }
