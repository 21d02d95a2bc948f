"""The SDK reads the environment without pydantic, yet as the settings do, and costs little to import."""

import subprocess
import sys

import pytest

from procurator.config import Settings
from procurator.errors import UserError
from procurator.producers import Procurator
from procurator.producers.defaults import Defaults


def test_the_defaults_are_those_of_the_settings() -> None:
    fields = Settings.model_fields
    assert Defaults().kafka_bootstrap_servers == fields["kafka_bootstrap_servers"].default
    assert Defaults().schema_registry_url == fields["schema_registry_url"].default


def test_the_environment_overrides_unless_empty() -> None:
    defaults = Defaults.from_environment({"PROCURATOR_ORG_ID": "acme", "PROCURATOR_USER_ID": "", "ORG_ID": "x"})
    assert defaults == Defaults(org_id="acme")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ON_FULL", "explode", "PROCURATOR_ON_FULL: 'explode' is none of spool, block, drop"),
        ("SPOOL_BYTES_MAX", "1 GB", "PROCURATOR_SPOOL_BYTES_MAX: '1 GB' is no number of bytes"),
        ("CONTROL", "maybe", "PROCURATOR_CONTROL: 'maybe' is neither on nor off"),
        ("REDACT", "email,phone", "redaction: 'phone' is none of api_key, token, email, card"),
    ],
)
def test_a_variable_that_makes_no_sense_is_one_clear_line(variable: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Procurator(environment={f"PROCURATOR_{variable}": value})


def test_importing_the_sdk_brings_nothing_heavy() -> None:
    heavy = (
        *("pydantic", "httpx", "rich", "typer", "asyncio", "confluent_kafka"),
        *("faust", "fastapi", "clickhouse_connect", "pyarrow", "genai_prices", "mcp"),
    )
    script = f"import procurator.producers, sys; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
