"""The lock of the downloads."""

from dataclasses import replace

import pytest

from procurator.deploy.embedded.jars import LOCK, Artifact, locked, of_part, parse_line
from procurator.errors import Fatal

PLAIN = Artifact("kafka", "org.example", "tool", "1.2", "", "jar", 7, "ab" * 32)


@pytest.mark.parametrize("artifact", [PLAIN, replace(PLAIN, classifier="all", type="tar.gz")])
def test_a_line_says_all_of_an_artifact(artifact: Artifact) -> None:
    assert parse_line(artifact.line) == artifact


def test_the_path_is_the_one_of_a_maven_repository() -> None:
    assert PLAIN.path == "org/example/tool/1.2/tool-1.2.jar"
    assert replace(PLAIN, classifier="all", type="tar.gz").path == "org/example/tool/1.2/tool-1.2-all.tar.gz"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "kafka org.example:tool:1.2:jar 7",
        "kafka tool:1.2 7 " + "ab" * 32,
        "kafka org.example:tool:1.2:jar seven " + "ab" * 32,
        "kafka org.example:tool:1.2:jar 7 " + "ab" * 31,
        "kafka org.example:tool:1.2:jar 7 " + "xy" * 32,
        "kafka org.example:tool:1.2:a:b:jar 7 " + "ab" * 32,
    ],
)
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(Fatal) as caught:
        parse_line(line)
    damaged = "kafka org.example:tool:1.2:a:b:jar 7" in line
    assert damaged or str(caught.value) == f"jars.lock is damaged at {line!r}; install procurator-ledger again"


def test_the_committed_lock_has_the_two_parts_and_names_no_host() -> None:
    assert "://" not in LOCK.read_text()
    assert {artifact.part for artifact in locked()} == {"kafka", "registry"}
    assert len({artifact.path for artifact in locked()}) == len(locked())
    assert [artifact.name for artifact in of_part("registry")] == ["apicurio-registry-app"]
    names = {artifact.name for artifact in of_part("kafka")}
    assert {"kafka_2.13", "log4j-core", "log4j-slf4j-impl"} <= names
