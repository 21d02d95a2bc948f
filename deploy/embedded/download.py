"""Fetch the locked artifacts into the cache: four at a time, resumable, checked, safe to run twice at once."""

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from procurator.deploy.embedded.jars import Artifact
from procurator.errors import UserError

#: Called from any thread with an artifact and how many of its bytes are here now.
Report = Callable[[Artifact, int], None]

_CHUNK_BYTES = 1 << 18
_GONE = frozenset({404, 410})


@dataclass(frozen=True)
class DownloadPolicy:
    """How hard to try. A server that is slow to answer for ``timeout_s`` counts as one failed try."""

    at_once: int = 4
    tries: int = 5
    timeout_s: float = 30.0
    pause_s: float = 0.5


class _Damaged(Exception):
    """The bytes are not those of the lock; the partial file is gone."""


@contextmanager
def cache_lock(cache_dir: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the cache for this process; ``waiting()`` is called if another has it first.

    Raises UserError when the cache cannot be written.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        handle = (cache_dir / "fetch.lock").open("a")
    except OSError as error:
        raise explain(error, cache_dir) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def missing(folder: Path, artifacts: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
    """Return those not in ``folder`` yet. By size only: what is there was hashed before it got its name."""
    return tuple(a for a in artifacts if _size(folder / a.path) != a.size)


def download(
    artifacts: tuple[Artifact, ...],
    folder: Path,
    base_url: str,
    report: Report,
    policy: DownloadPolicy = DownloadPolicy(),
) -> None:
    """Bring all of ``artifacts`` into ``folder``; on any failure the partial files stay, to be resumed.

    Raises UserError: one line naming what failed, where, and what to do.
    """
    stop = threading.Event()
    limits = httpx.Limits(max_connections=policy.at_once)
    with (
        httpx.Client(timeout=policy.timeout_s, follow_redirects=True, limits=limits) as client,
        ThreadPoolExecutor(policy.at_once, thread_name_prefix="fetch") as pool,
    ):
        fetcher = _Fetcher(client, base_url.rstrip("/"), folder, report, policy, stop)
        largest_first = sorted(artifacts, key=lambda artifact: -artifact.size)
        futures = [pool.submit(fetcher.fetch, artifact) for artifact in largest_first]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Fetcher:
    client: httpx.Client
    base_url: str
    folder: Path
    report: Report
    policy: DownloadPolicy
    stop: threading.Event

    def fetch(self, artifact: Artifact) -> None:
        """Download one artifact, trying again after failures that may pass."""
        target = self.folder / artifact.path
        partial = target.with_name(f"{target.name}.part")
        for attempt in range(1, self.policy.tries + 1):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fetch_once(artifact, partial)
                os.replace(partial, target)
                return
            except OSError as error:
                raise explain(error, target) from None
            except httpx.HTTPStatusError as error:
                gone = error.response.status_code in _GONE
                problem = f"the server answered {error.response.status_code}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                gone, problem = False, str(error) or type(error).__name__
            except _Damaged as error:
                gone, problem = False, str(error)
            if self.stop.is_set():
                return
            if gone or attempt == self.policy.tries:
                raise UserError(
                    f"cannot download {target.name} from {self.base_url}: {problem}; "
                    "check the network, or name a mirror in PROCURATOR_MAVEN_URL, and run it again"
                )
            self.stop.wait(self.policy.pause_s * 2 ** (attempt - 1))

    def _fetch_once(self, artifact: Artifact, partial: Path) -> None:
        """Complete ``partial`` and check it; httpx.HTTPError or OSError leave what has arrived."""
        with partial.open("a+b") as file:
            digest, have = _read_again(file)
            if have < artifact.size:
                digest, have = self._receive(artifact, file, digest, have)
        if have < artifact.size:
            raise httpx.ReadError(f"it broke off after {have:,} of {artifact.size:,} bytes")
        self.report(artifact, have)
        if digest.hexdigest() != artifact.sha256:
            partial.unlink()
            self.report(artifact, 0)
            raise _Damaged("its SHA-256 is not the one in jars.lock")

    def _receive(
        self, artifact: Artifact, file: BinaryIO, digest: "hashlib._Hash", have: int
    ) -> tuple["hashlib._Hash", int]:
        """Append the rest of the artifact; start again from nothing if the server sends it whole."""
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.client.stream("GET", f"{self.base_url}/{artifact.path}", headers=headers) as response:
            response.raise_for_status()
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                file.truncate(0)
                digest, have = hashlib.sha256(), 0
            for chunk in response.iter_raw(_CHUNK_BYTES):
                if self.stop.is_set() or have > artifact.size:
                    break
                file.write(chunk)
                digest.update(chunk)
                have += len(chunk)
                self.report(artifact, have)
        return digest, have


def _read_again(file: BinaryIO) -> tuple["hashlib._Hash", int]:
    """Return the hash and the length of what an earlier try left."""
    digest, have = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
        have += len(chunk)
    return digest, have


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def explain(error: OSError, where: Path) -> UserError:
    """Return the line that says what the file system refused and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk is full at {where}; make room, or set PROCURATOR_CACHE_DIR elsewhere")
    return UserError(f"cannot write {where}: {error.strerror}; set PROCURATOR_CACHE_DIR to a folder you own")
