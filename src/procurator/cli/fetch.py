"""``procurator fetch``: download what the embedded stack needs, ahead of the first ``up`` or ``demo``."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from procurator.cli import console
from procurator.errors import ProcuratorError

if TYPE_CHECKING:
    from procurator.deploy.embedded.jars import Artifact
    from procurator.deploy.embedded.provision import Provisions

_PLAIN_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def fetch() -> None:
        """Download the parts of the embedded stack (Kafka, schema registry), checked, into the cache."""
        provisions = fetch_missing()
        _warm(provisions)
        say(f"everything is in {provisions.cache_dir}")


def fetch_missing() -> "Provisions":
    """Bring what is missing into the cache, showing sizes and progress on standard error."""
    from procurator.config import settings
    from procurator.deploy.embedded.provision import Provisions, provide

    cache_dir = settings().cache_dir.expanduser().absolute()
    if (provisions := Provisions(cache_dir)).complete():
        return provisions
    with _Progress(cache_dir) as progress:
        provide(cache_dir, progress.started, progress.report, progress.waiting)
    _warm(provisions)
    return provisions


def _warm(provisions: "Provisions") -> None:
    """Record the JVMs' start caches; only say so if that does not work, since all works without."""
    from procurator.deploy.embedded.warm import is_warm, warm

    if not is_warm(provisions):
        say("preparing quick starts of Kafka and the registry, once (some 20 s)")
        try:
            warm(provisions, lambda: say("another procurator is at it; waiting for it"))
        except (ProcuratorError, OSError) as error:
            say(f"they will start more slowly: {error}")


class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, cache_dir: Path) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Progress("downloading", *columns, console=console, disable=not console.is_terminal)
        self._cache_dir = cache_dir
        self._lock = threading.Lock()
        self._here: dict[str, int] = {}
        self._total_bytes = 0
        self._said_at_s = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, wanted: tuple["Artifact", ...]) -> None:
        """Say how much there is to download."""
        self._total_bytes = sum(artifact.size for artifact in wanted)
        say(f"downloading {len(wanted)} files, {_mb(self._total_bytes)}, into {self._cache_dir}")
        self._task = self._bar.add_task("", total=self._total_bytes)
        self._bar.start()

    def report(self, artifact: "Artifact", have: int) -> None:
        """Show that ``have`` bytes of one artifact are here."""
        with self._lock:
            if self._here.get(artifact.path) == have:
                return
            self._here[artifact.path] = have
            done = sum(self._here.values())
            self._bar.update(self._task, completed=done)
            now = time.monotonic()
            if not console.is_terminal and (now - self._said_at_s >= _PLAIN_EVERY_S or done == self._total_bytes):
                self._said_at_s = now
                say(f"downloaded {_mb(done)} of {_mb(self._total_bytes)}")

    def waiting(self) -> None:
        """Say that another process is downloading."""
        say(f"another procurator is filling {self._cache_dir}; waiting for it")


def say(line: str) -> None:
    """Print one line of progress on standard error."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
