"""What an export makes of ClickHouse's answers, over a real connection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pyarrow as pa
import pytest

from procurator.access import Scope
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.export.job import FileFormat
from procurator.query_api.export.source import Exceeded, ExportSource
from procurator.query_api.queries.export import SnapshotSessions
from procurator.query_api.search import parse
from procurator.query_api.search.errors import SearchError

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Gives the next of ``answers`` to each request, the last one again and again."""

    answers: list[Answer] = field(default_factory=list)
    silent: Event = field(default_factory=Event)
    url: str = ""

    def be_silent(self, _: BaseHTTPRequestHandler) -> None:
        self.silent.wait()

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            server.next()(self)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server.url = f"http://127.0.0.1:{listener.server_port}"
        thread = Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.silent.set()
        listener.shutdown()
        thread.join()


def answer(status: int, body: bytes = b"", code: int | None = None) -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if code is not None:
            handler.send_header("X-ClickHouse-Exception-Code", str(code))
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Break off without a word."""
    handler.close_connection = True


def cut_in_the_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"some")
    handler.close_connection = True


def cut_in_the_compressed(handler: BaseHTTPRequestHandler) -> None:
    """The body of a proxy that ends a broken answer as if it were whole."""
    whole: bytes = pa.compress(bytes(range(256)) * 9, "zstd", asbytes=True)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "zstd")
    handler.send_header("Content-Length", str(len(whole) // 2))
    handler.end_headers()
    handler.wfile.write(whole[: len(whole) // 2])


def read(url: str, filter: str = "") -> bytes:
    source = ExportSource(Settings(clickhouse_url=url))
    query = SnapshotSessions(scope=Scope.everywhere(), filter=parse(filter))
    try:
        with source.rows(query, FileFormat.NDJSON) as pieces:
            return b"".join(pieces)
    finally:
        source.close()


@pytest.mark.parametrize("filter", ["", "refun*"])
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(500, code=159), Exceeded),
        (answer(500, code=241), Exceeded),
        (answer(500, code=394), Exceeded),
        (answer(500, code=202), Unavailable),
        (answer(503), Unavailable),
        (cut, Unavailable),
    ],
)
def test_a_limit_is_told_from_an_outage(server: Server, given: Answer, kind: type[Exception], filter: str) -> None:
    server.answers = [given]
    with pytest.raises(Unavailable) as caught:
        read(server.url, filter)
    assert type(caught.value) is kind


@pytest.mark.parametrize("filter", ["", "refun*"])
def test_nobody_listening_is_an_outage(filter: str) -> None:
    with pytest.raises(Unavailable, match=r"ClickHouse at http://127\.0\.0\.1:9/ does not answer") as caught:
        read("http://127.0.0.1:9", filter)
    assert type(caught.value) is Unavailable


@pytest.mark.parametrize("filter", ["", "refun*"])
def test_an_answer_that_does_not_come_is_a_limit(server: Server, filter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procurator.query_api.export.source._TIMEOUT_S", 0.2)
    server.answers = [server.be_silent]
    with pytest.raises(Exceeded, match=r"sent nothing for 0\.2 s"):
        read(server.url, filter)


@pytest.mark.parametrize("given", [cut_in_the_body, cut_in_the_compressed])
def test_an_answer_that_breaks_off_is_a_limit(server: Server, given: Answer) -> None:
    server.answers = [given]
    with pytest.raises(Exceeded, match="broke off its answer"):
        read(server.url)


def test_words_too_many_for_a_statement_say_what_to_write(server: Server) -> None:
    words = "\n".join(f"{number:0100}" for number in range(900)).encode()
    server.answers = [answer(200, words)]
    with pytest.raises(SearchError, match=r"too long together: write more of the beginnings; for example reimburse\*"):
        read(server.url, "refun*")
