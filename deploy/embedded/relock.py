"""Write ``jars.lock`` again, after a version below was changed: ``python -m procurator.deploy.embedded.relock``.

jgo resolves the transitive jars from the repository's POMs and downloads them (checking the repository's own
SHA-1); the sizes and SHA-256 written here are what every later download is held to.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import jgo
from jgo.maven import MavenContext

from procurator.deploy.embedded.jars import LOCK, Artifact

KAFKA = "org.apache.kafka:kafka_2.13:4.4.0"
#: Kafka speaks SLF4J 1.7 and brings log4j2, but nothing that joins the two.
KAFKA_LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl", "log4j-api")
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3")
HEADER = """\
# The jars of the embedded stack: part, coordinate, size in bytes, SHA-256.
# Written by `python -m procurator.deploy.embedded.relock`; do not edit.
"""


def _pin(part: str, artifact: "jgo.maven.Artifact") -> Artifact:
    file: Path = artifact.resolve()
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Artifact(
        part,
        artifact.groupId,
        artifact.artifactId,
        artifact.version,
        artifact.classifier,
        artifact.packaging,
        file.stat().st_size,
        digest,
    )


def resolve() -> Iterator[Artifact]:
    """Yield every artifact the stack needs, downloading each into jgo's own cache."""
    maven = MavenContext()
    kafka = [_pin("kafka", artifact) for artifact in jgo.resolve(KAFKA)]
    group, name, twin = KAFKA_LOGGING
    version = next(artifact.version for artifact in kafka if artifact.name == twin)
    kafka.append(_pin("kafka", maven.project(group, name).at_version(version).artifact()))
    yield from sorted(kafka, key=lambda artifact: artifact.path)
    group, name, version = REGISTRY
    component = maven.project(group, name).at_version(version)
    yield _pin("registry", component.artifact(classifier="all", packaging="tar.gz"))


if __name__ == "__main__":
    LOCK.write_text(HEADER + "".join(f"{artifact.line}\n" for artifact in resolve()), encoding="ascii")
