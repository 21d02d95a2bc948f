"""The processes of the stack and the settings each gets."""

from dataclasses import replace
from pathlib import Path

import pytest

from procurator.deploy.embedded import components
from procurator.deploy.embedded.components import ALL, INFRASTRUCTURE, Plan
from procurator.deploy.embedded.credentials import USERS, Credentials
from procurator.deploy.embedded.layout import Layout, Ports
from procurator.errors import UserError

PLAN = Plan(
    layout=Layout(Path("/data, of mine")),
    ports=Ports().shifted(100),
    controller_port=20_000,
    credentials=Credentials("the-admin-key", {user: f"password-of-{user}" for user in USERS}),
    cache_dir=Path("/cache"),
    java=Path("/jdk/bin/java"),
    kafka_jars=(Path("/cache/a.jar"), Path("/cache/b.jar")),
    registry_dir=Path("/cache/registry"),
    start_caches={"kafka": Path("/cache/kafka.aot")},
    recording=False,
    inherited={
        "PATH": "/bin",
        "PROCURATOR_PARTITIONS": "7",
        "PROCURATOR_ADMIN_KEY": "typed",
        "JAVA_TOOL_OPTIONS": "-Xmx1m",
    },
)
SPECS = {spec.name: spec for spec in components.specs(PLAN, ALL, "cluster")}


def test_everything_runs_in_its_own_folder_after_what_it_needs() -> None:
    assert set(SPECS) == {*ALL, "kafka-format"}
    for name, spec in SPECS.items():
        assert spec.cwd == PLAN.layout.of(name.removesuffix("-format"))
    for name in ("stream", "sink", "api"):
        assert set(SPECS[name].depends_on) == {*INFRASTRUCTURE, "setup"}
    assert set(SPECS["setup"].depends_on) == INFRASTRUCTURE
    assert SPECS["kafka"].depends_on == ("kafka-format",)
    assert {name for name, spec in SPECS.items() if spec.one_shot} == {"kafka-format", "setup"}


def test_a_jvm_starts_from_the_cache_it_has_and_records_one_when_told_to() -> None:
    assert "-XX:AOTCache=/cache/kafka.aot" in SPECS["kafka"].argv
    assert not any("AOT" in argument for argument in SPECS["registry"].argv)
    recording = components.specs(replace(PLAN, recording=True), frozenset({"kafka", "registry"}), None)
    for spec in recording:
        assert [argument for argument in spec.argv if "AOT" in argument] == ["-XX:AOTCacheOutput=start.aot"]
        assert spec.stop_s == 120.0


def test_formatted_storage_is_not_formatted_again() -> None:
    assert [spec.name for spec in components.specs(PLAN, frozenset({"kafka"}), None)] == ["kafka"]


def test_each_component_gets_the_secrets_it_needs_and_no_other() -> None:
    secrets = {"admin": "the-admin-key", "webhook": PLAN.credentials.webhook_key, **PLAN.credentials.passwords}
    expected = {
        "setup": {"admin"},
        "sink": {"writer"},
        "api": {"reader", "admin", "webhook"},
        "forward": {"reader", "webhook"},
        "retention": {"purger"},
    }
    for name, spec in SPECS.items():
        known = {user for user, secret in secrets.items() if secret in spec.env.values()}
        assert known == expected.get(name, set()), name
        assert not any(secret in " ".join(spec.argv) for secret in secrets.values())
        assert "typed" not in spec.env.values()
        assert "JAVA_TOOL_OPTIONS" not in spec.env
        assert spec.env["PROCURATOR_PARTITIONS"] == "7"


def test_a_component_is_told_where_its_neighbours_are() -> None:
    env = SPECS["sink"].env
    assert env["PROCURATOR_KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:9192"
    assert env["PROCURATOR_SCHEMA_REGISTRY_URL"] == "http://127.0.0.1:8181/apis/ccompat/v7"
    assert env["PROCURATOR_CLICKHOUSE_URL"] == "http://127.0.0.1:8223"
    assert env["PROCURATOR_CLICKHOUSE_USER"] == "writer"
    assert env["PROCURATOR_READY_FILE"] == "/data, of mine/run/sink.ready"
    assert SPECS["sink"].ready_file == Path("/data, of mine/run/sink.ready")


def test_no_path_goes_into_kafkas_properties_where_a_comma_would_split_it() -> None:
    assert components.kafka_properties(PLAN).splitlines() == [
        "listeners=PLAINTEXT://127.0.0.1:9192,CONTROLLER://127.0.0.1:20000",
        "advertised.listeners=PLAINTEXT://127.0.0.1:9192",
        "controller.quorum.voters=1@127.0.0.1:20000",
        "log.dirs=data",
    ]


def test_a_selection_is_checked() -> None:
    assert components.selection("") == ALL
    assert components.selection(" kafka, registry,") == {"kafka", "registry"}
    with pytest.raises(UserError, match="^there is no component kafak, x; there are api, clickhouse, forward, kafka"):
        components.selection("kafak,kafka,x")
