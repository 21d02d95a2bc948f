"""Downloads against a real server on the loopback address that fails in the ways servers do."""

import errno
import hashlib
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from procurator.deploy.embedded.download import DownloadPolicy, cache_lock, download, explain, missing
from procurator.deploy.embedded.jars import Artifact
from procurator.deploy.embedded.provision import unpack
from procurator.errors import UserError

BODY = bytes(range(256)) * 4096  # 1 MiB: several chunks
HASTY = DownloadPolicy(tries=3, timeout_s=5, pause_s=0.01)


def artifact(name: str, body: bytes = BODY) -> Artifact:
    return Artifact("kafka", "org.example", name, "1", "", "jar", len(body), hashlib.sha256(body).hexdigest())


class _Maven(BaseHTTPRequestHandler):
    """Serves BODY at every path; the artifact's name says what goes wrong, ``asked`` has what was asked for."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        name = self.path.split("/")[-3]
        first = not any(asked == name for asked, _ in self.asked)
        given_range = self.headers.get("Range", "")
        self.asked.append((name, given_range))
        if name == "gone" or (name == "busy" and first):
            self.send_error(404 if name == "gone" else 503)
            return
        start = int(given_range.removeprefix("bytes=").removesuffix("-") or 0) if name != "whole" else 0
        body = BODY[start:] if name != "forged" else BODY[::-1]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = len(body) // 2 if name == "breaks" and first else len(body)
        self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def maven() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the base address of a repository and the list of (name, range) asked of it."""
    asked: list[tuple[str, str]] = []
    handler = type("Maven", (_Maven,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/maven2", asked
        server.shutdown()
        thread.join()


Maven = tuple[str, list[tuple[str, str]]]


def fetch(maven: Maven, folder: Path, *names: str) -> dict[str, int]:
    have: dict[str, int] = {}
    download(tuple(map(artifact, names)), folder, maven[0], lambda a, n: have.__setitem__(a.name, n), policy=HASTY)
    return have


def test_what_is_complete_has_its_name_and_is_asked_for_once(maven: Maven, tmp_path: Path) -> None:
    names = tuple(f"jar-{n}" for n in range(10))
    wanted = tuple(map(artifact, names))
    assert missing(tmp_path, wanted) == wanted
    assert fetch(maven, tmp_path, *names) == dict.fromkeys(names, len(BODY))
    assert missing(tmp_path, wanted) == ()
    assert sorted(maven[1]) == [(name, "") for name in sorted(names)]
    assert list(tmp_path.rglob("*.part")) == []
    assert (tmp_path / wanted[0].path).read_bytes() == BODY


@pytest.mark.parametrize("name", ["breaks", "busy"])
def test_a_failure_that_passes_is_tried_again(maven: Maven, tmp_path: Path, name: str) -> None:
    fetch(maven, tmp_path, name)
    assert (tmp_path / artifact(name).path).read_bytes() == BODY
    resumed = [asked for _, asked in maven[1] if asked]
    assert resumed == ([f"bytes={len(BODY) // 2}-"] if name == "breaks" else [])


@pytest.mark.parametrize("name", ["jar", "whole"])
def test_an_earlier_run_is_resumed_or_else_repeated(maven: Maven, tmp_path: Path, name: str) -> None:
    target = tmp_path / artifact(name).path
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.part").write_bytes(BODY[:1000])
    fetch(maven, tmp_path, name)
    assert target.read_bytes() == BODY
    assert maven[1] == [(name, "bytes=1000-")]


def test_a_damaged_earlier_run_is_thrown_away(maven: Maven, tmp_path: Path) -> None:
    target = tmp_path / artifact("jar").path
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.part").write_bytes(b"x" * 1000)
    fetch(maven, tmp_path, "jar")
    assert target.read_bytes() == BODY
    assert maven[1] == [("jar", "bytes=1000-"), ("jar", "")]


@pytest.mark.parametrize(
    ("name", "problem", "tries"),
    [
        ("gone", "the server answered 404", 1),
        ("forged", "its SHA-256 is not the one in jars.lock", 3),
    ],
)
def test_a_failure_that_stays_is_one_line(maven: Maven, tmp_path: Path, name: str, problem: str, tries: int) -> None:
    with pytest.raises(UserError) as caught:
        fetch(maven, tmp_path, name, "jar")
    assert str(caught.value) == (
        f"cannot download {name}-1.jar from {maven[0]}: {problem}; "
        "check the network, or name a mirror in PROCURATOR_MAVEN_URL, and run it again"
    )
    assert len([asked for asked, _ in maven[1] if asked == name]) == tries
    assert not (tmp_path / artifact(name).path).exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/maven2", "nonsense", "http://[/"])
def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError, match=r"^cannot download jar-1.jar from .*: .+; check the network"):
        fetch((address, []), tmp_path, "jar")


def test_a_folder_that_cannot_be_written_is_one_line(maven: Maven, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory; set PROCURATOR_CACHE_DIR to a folder you own"):
        fetch(maven, tmp_path / "file", "jar")
    with pytest.raises(UserError, match="set PROCURATOR_CACHE_DIR"), cache_lock(tmp_path / "file", pytest.fail):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(number: int) -> None:
    line = str(explain(OSError(number, "full"), Path("/cache/a.jar")))
    assert line == "the disk is full at /cache/a.jar; make room, or set PROCURATOR_CACHE_DIR elsewhere"


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from procurator.deploy.embedded.download import cache_lock\n"
        f"with cache_lock(Path({str(tmp_path)!r}), lambda: print('waiting', flush=True)):\n"
        "    print('mine', flush=True)\n"
    )
    with cache_lock(tmp_path, pytest.fail):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    with other:
        assert other.stdout.readline() == "mine\n"


def archive(path: Path, *members: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    (path.parent / "content").write_text("content")
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.add(path.parent / "content", arcname=member)
    return path


def test_an_archive_is_unpacked_whole_and_removed(tmp_path: Path) -> None:
    packed = archive(tmp_path / "in" / "app.tar.gz", "lib/a.jar", "run.jar")
    unpack(packed, tmp_path / "app")
    assert (tmp_path / "app" / "lib" / "a.jar").read_text() == "content"
    assert not packed.exists()


def test_an_archive_that_points_outside_leaves_nothing(tmp_path: Path) -> None:
    packed = archive(tmp_path / "in" / "app.tar.gz", "good", "../outside")
    with pytest.raises(UserError, match=r"cannot unpack .*app.tar.gz: .*outside"):
        unpack(packed, tmp_path / "app")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
