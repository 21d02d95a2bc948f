"""The SDK reads the environment without pydantic, yet as the settings do, and costs little to import."""

import subprocess
import sys

from procurator.config import Settings
from procurator.producers.defaults import Defaults


def test_the_defaults_are_those_of_the_settings() -> None:
    fields = Settings.model_fields
    assert Defaults().kafka_bootstrap_servers == fields["kafka_bootstrap_servers"].default
    assert Defaults().schema_registry_url == fields["schema_registry_url"].default


def test_the_environment_overrides_unless_empty() -> None:
    defaults = Defaults.from_environment({"PROCURATOR_ORG_ID": "acme", "PROCURATOR_USER_ID": "", "ORG_ID": "x"})
    assert defaults == Defaults(org_id="acme")


def test_importing_the_sdk_brings_nothing_heavy() -> None:
    heavy = ("pydantic", "httpx", "rich", "typer", "asyncio", "confluent_kafka")
    script = f"import procurator.producers, sys; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
