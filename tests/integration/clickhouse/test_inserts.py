"""Inserts: every way to send the data, tokens, bodies that break off, crashes."""

import gzip
import io
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import lz4.frame
import pyarrow as pa
import pyarrow.ipc
import pytest
import zstandard

AUTH = "user=admin&password=admin-password"


@pytest.fixture
def table(endpoint: Any, request: pytest.FixtureRequest) -> str:
    """An empty table that remembers tokens."""
    name = "".join(char if char.isalnum() else "_" for char in request.node.name)
    endpoint.value(
        f"CREATE TABLE {name} (a Int64, s String) ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 1000"
    )
    return name


def _count(endpoint: Any, table: str) -> int:
    return int(endpoint.value(f"SELECT count() FROM {table}"))


def _arrow(start: int, rows: int) -> bytes:
    """An Arrow stream of several batches."""
    data = pa.table(
        {"a": pa.array(range(start, start + rows), pa.int64()), "s": pa.array(["x" * 10] * rows, pa.binary())}
    )
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=20_000)
    return sink.getvalue()


def _csv(start: int, rows: int) -> bytes:
    return b"".join(b"%d,x\n" % i for i in range(start, start + rows))


def _native(endpoint: Any, start: int, rows: int) -> bytes:
    """Native data of several blocks."""
    sql = f"SELECT toInt64(number) AS a, repeat('x', 10) AS s FROM numbers({start}, {rows})"
    body: bytes = endpoint.ask(f"{sql} SETTINGS max_block_size = 10000 FORMAT Native").content
    return body


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"INSERT INTO %s (a, s) VALUES (1, 'x;'), (2, 'y');"),
        ("", b"INSERT INTO %s FORMAT CSV\n1,x;\n2,y\n"),
        ("", b'INSERT INTO %s FORMAT JSONEachRow {"a": 1, "s": "x;"}\n{"a": 2, "s": "y"}'),
        ("INSERT INTO %s FORMAT TSV", b"1\tx;\n2\ty\n"),
        ("INSERT INTO %s (a, s) VALUES", b"(1, 'x;'), (2, 'y')"),
        ("INSERT INTO %s", b"FORMAT CSV\n1,x;\n2,y\n"),
        ("INSERT INTO %s (a, s) FORMAT CSV\n1,x;\n", b"2,y\n"),
        ("INSERT INTO %s SELECT a - 1, s FROM input('a Int64, s String') FORMAT CSV", b"2,x;\n3,y\n"),
        ("", b"WITH 1 AS y INSERT INTO %s FORMAT CSV\n1,x;\n2,y\n"),
        ("INSERT INTO %s SELECT number + 1, ['x;', 'y'][number + 1] FROM numbers(2)", b""),
    ],
)
def test_statement_and_data_may_meet_anywhere(endpoint: Any, table: str, query: str, body: bytes) -> None:
    name = table.encode()
    if query:
        answer = endpoint.ask(query.replace("%s", table), content=body)
    else:
        answer = endpoint.ask(body.replace(b"%s", name))
    assert (answer.status_code, answer.text) == (200, "")
    assert endpoint.value(f"SELECT * FROM {table} ORDER BY a FORMAT CSV") == '1,"x;"\n2,"y"'


def test_any_bytes_arrive_as_they_are(endpoint: Any, table: str) -> None:
    data = b"1\t\xff\xfe\xc3\n"
    assert endpoint.ask(f"INSERT INTO {table} FORMAT TSV", content=data).status_code == 200
    assert endpoint.value(f"SELECT hex(s) FROM {table}") == "FFFEC3"


def test_parameters_may_name_the_table(endpoint: Any, table: str) -> None:
    answer = endpoint.ask("INSERT INTO {t:Identifier} FORMAT CSV", content=b"1,x\n", param_t=table)
    assert answer.status_code == 200, answer.text
    assert _count(endpoint, table) == 1


@pytest.mark.parametrize("encoding", ["", "gzip", "lz4", "zstd"])
def test_compressed_bodies_of_several_frames(endpoint: Any, table: str, encoding: str) -> None:
    frames = [b"".join(b"%d\trow\n" % i for i in range(start, start + 50_000)) for start in (0, 50_000, 100_000)]
    compress = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstandard.ZstdCompressor().compress}
    body = b"".join(compress[encoding](frame) if encoding else frame for frame in frames)
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert endpoint.ask(f"INSERT INTO {table} FORMAT TSV", content=body, headers=headers).status_code == 200
    assert endpoint.value(f"SELECT count(), uniqExact(a) FROM {table}") == "150000\t150000"


@pytest.mark.parametrize("fmt", ["ArrowStream", "Native", "CSV"])
def test_a_token_drops_the_whole_insert(endpoint: Any, table: str, fmt: str) -> None:
    """Whatever the number of rows and of blocks of the body; the views of a table follow it."""
    endpoint.value(
        f"CREATE TABLE {table}_sums (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple()"
        " SETTINGS non_replicated_deduplication_window = 1000"
    )
    endpoint.value(f"CREATE MATERIALIZED VIEW {table}_view TO {table}_sums AS SELECT count() AS n FROM {table}")

    def insert(start: int, rows: int, token: str) -> None:
        bodies = {"ArrowStream": _arrow, "Native": lambda *range_: _native(endpoint, *range_), "CSV": _csv}
        query = f"INSERT INTO {table} (a, s) FORMAT {fmt}"
        answer = endpoint.ask(query, content=bodies[fmt](start, rows), insert_deduplication_token=token)
        assert answer.status_code == 200, answer.text

    insert(0, 200_000, "log:0")
    assert endpoint.value(f"SELECT count() FROM system.parts WHERE table = '{table}' AND active") == "1"
    insert(0, 200_000, "log:0")
    insert(0, 250_000, "log:0")  # a zombie that starts at the same head, and has more
    insert(0, 10, "log:0")
    assert endpoint.value(f"SELECT count(), uniqExact(a) FROM {table}") == "200000\t200000"
    assert endpoint.value(f"SELECT sum(n) FROM {table}_sums") == "200000"
    insert(200_000, 50_000, "log:200000")
    assert endpoint.value(f"SELECT count(), uniqExact(a) FROM {table}") == "250000\t250000"


def _send_cut(url: str, table: str, headers: str, body: bytes) -> None:
    """Send a request whose body ends before its time, and hang up."""
    parts = urlsplit(url)
    query = quote(f"INSERT INTO {table} FORMAT TSV")
    head = f"POST /?{AUTH}&query={query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(head.encode() + body)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def test_nothing_of_a_body_that_breaks_off(endpoint: Any, table: str) -> None:
    rows = b"".join(b"%d\tx\n" % i for i in range(50_000))
    _send_cut(endpoint.url, table, f"Content-Length: {len(rows) + 1}", rows)
    _send_cut(endpoint.url, table, "Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(rows), rows))
    _send_cut(endpoint.url, table, "Transfer-Encoding: chunked", b"%x\r\n%s" % (len(rows) + 9, rows))
    assert _count(endpoint, table) == 0


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_nothing_of_a_compressed_body_that_breaks_off(endpoint: Any, table: str, encoding: str) -> None:
    rows = b"".join(b"%d\tx\n" % i for i in range(50_000))
    compress = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstandard.ZstdCompressor().compress}
    whole = compress[encoding](rows)
    headers = {"Content-Encoding": encoding}
    query = f"INSERT INTO {table} FORMAT TSV"
    with httpx.Client(auth=("admin", "admin-password"), params={"query": query}, timeout=60) as client:
        for body in (whole[:-1], whole + whole[: len(whole) // 2], b"x" + whole):
            answer = client.post(endpoint.url, content=body, headers=headers)
            assert answer.headers["x-clickhouse-exception-code"] in ("33", "271")
        assert _count(endpoint, table) == 0
        assert client.post(endpoint.url, content=whole, headers=headers).status_code == 200
    assert _count(endpoint, table) == 50_000


@pytest.mark.parametrize("fmt", ["ArrowStream", "Native"])
def test_nothing_of_data_that_ends_early(endpoint: Any, table: str, fmt: str) -> None:
    whole = _arrow(0, 100_000) if fmt == "ArrowStream" else _native(endpoint, 0, 100_000)
    for body in (whole[: len(whole) // 2 + 5], whole[: len(whole) * 9 // 10 + 3], b"garbage" * 100):
        answer = endpoint.ask(f"INSERT INTO {table} (a, s) FORMAT {fmt}", content=body)
        assert answer.status_code != 200
        assert answer.text.startswith("Code: ")
    assert _count(endpoint, table) == 0


@pytest.mark.parametrize(
    ("fmt", "rows", "bad", "code", "text"),
    [
        ("CSV", 0, b"-1,x\n", 469, "Constraint `positive`"),
        ("CSV", 200_000, b"-1,x\n", 469, "Constraint `positive`"),
        ("CSV", 0, b"7,x\n", 395, "seven is refused"),
        ("CSV", 100_000, b"no number,x\n", 27, "Cannot parse input"),
        ("JSONEachRow", 0, b'{"a": [1]}\n', 27, "Cannot parse input"),
        ("Values", 0, b"('x', 1)", 6, "Cannot parse string"),
    ],
)
def test_an_insert_that_fails_says_so_and_leaves_nothing(
    endpoint: Any, table: str, fmt: str, rows: int, bad: bytes, code: int, text: str
) -> None:
    """Also when the table refuses a block that could be read, at its end, and however the rows came."""
    endpoint.value(f"ALTER TABLE {table} ADD CONSTRAINT positive CHECK a >= 0")
    endpoint.value(f"ALTER TABLE {table} ADD COLUMN late UInt8 MATERIALIZED throwIf(a = 7, 'seven is refused')")
    body = _csv(100, rows) + bad
    for params in ({}, {"insert_deduplication_token": "once"}):
        answer = endpoint.ask(f"INSERT INTO {table} (a, s) FORMAT {fmt}", "writer", content=body, **params)
        assert answer.status_code != 200
        assert answer.headers["x-clickhouse-exception-code"] == str(code), answer.text
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
        assert text in answer.text
        assert "/dev/fd" not in answer.text
        assert _count(endpoint, table) == 0
    # The token of an insert that failed is not used up.
    good = endpoint.ask(
        f"INSERT INTO {table} (a, s) FORMAT CSV", "writer", content=b"1,x\n", insert_deduplication_token="once"
    )
    assert (good.status_code, _count(endpoint, table)) == (200, 1)


def test_an_insert_without_rows_and_one_with_settings(endpoint: Any, table: str) -> None:
    assert endpoint.ask(f"INSERT INTO {table} FORMAT CSV", content=b"").status_code == 200
    assert _count(endpoint, table) == 0
    query = f"INSERT INTO {table} (a, s) SETTINGS format_csv_delimiter = ';' FORMAT CSV"
    assert endpoint.ask(query, content=b"1;x\n").status_code == 200
    assert _count(endpoint, table) == 1


def test_several_writers_and_readers_at_once(endpoint: Any, table: str) -> None:
    failures: list[str] = []

    def write(writer: int) -> None:
        for i in range(5):
            start = (writer * 5 + i) * 10_000
            query = f"INSERT INTO {table} (a, s) FORMAT ArrowStream"
            answer = endpoint.ask(query, "writer", content=_arrow(start, 10_000), insert_deduplication_token=str(start))
            if answer.status_code != 200:
                failures.append(answer.text)
            if endpoint.ask(f"SELECT count() FROM {table}", "reader").status_code != 200:
                failures.append("the reader failed")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert endpoint.value(f"SELECT count(), uniqExact(a) FROM {table}") == "200000\t200000"


def test_what_was_acknowledged_survives_sigkill(make_endpoint: Callable[[], Any]) -> None:
    """Insert until the process is killed in mid-insert: each acknowledged token's rows are there, once."""
    one = make_endpoint()
    one.start()
    one.value(
        "CREATE TABLE t (a Int64, s String, INDEX words s TYPE text(tokenizer = splitByNonAlpha),"
        " PROJECTION by_s (SELECT a, s ORDER BY s)) ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 1000"
    )
    acknowledged: list[int] = []
    query = "INSERT INTO t (a, s) FORMAT ArrowStream"

    def write() -> None:
        for start in range(0, 10_000_000, 5_000):
            try:
                one.ask(query, content=_arrow(start, 5_000), insert_deduplication_token=str(start)).raise_for_status()
            except httpx.HTTPError:
                return
            acknowledged.append(start)
            if len(acknowledged) == 8:
                enough.set()

    enough = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(30)
    one.process.send_signal(signal.SIGKILL)
    writer.join()
    one.kill()
    one.start()
    counted = one.value(
        "SELECT intDiv(a, 5000) * 5000 AS start, count(), uniqExact(a) FROM t GROUP BY start ORDER BY start"
    )
    stored = [tuple(map(int, line.split("\t"))) for line in counted.splitlines()]
    assert {(rows, different) for _, rows, different in stored} == {(5_000, 5_000)}
    assert set(acknowledged) <= {start for start, _, _ in stored}
    for start in acknowledged:  # the tokens were kept as well
        one.ask(query, content=_arrow(start, 5_000), insert_deduplication_token=str(start)).raise_for_status()
    assert _count(one, "t") == 5_000 * len(stored)
