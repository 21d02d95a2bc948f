"""The HTTP protocol: answers, errors early and late, compression, sessions, external tables, cancelling."""

import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import httpx
import lz4.frame
import pytest
import zstandard

Endpoint = Any  # the fixture of conftest.py


def _eventually(check: Callable[[], bool], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def test_ping_needs_no_user_and_everything_else_does(endpoint: Endpoint) -> None:
    assert httpx.get(f"{endpoint.url}/ping", timeout=60).text == "Ok.\n"
    assert httpx.get(f"{endpoint.url}/replicas_status", timeout=60).text == "Ok.\n"
    assert httpx.get(endpoint.url, timeout=60).text == "Ok.\n"
    assert httpx.get(f"{endpoint.url}/nothing").status_code == 404
    nobody = httpx.post(endpoint.url, content="SELECT 1")
    assert (nobody.status_code, nobody.headers["x-clickhouse-exception-code"]) == (401, "516")
    for user, password in (("admin", "wrong"), ("default", ""), ("admin", "")):
        wrong = httpx.post(endpoint.url, content="SELECT 1", auth=(user, password))
        assert (wrong.status_code, wrong.headers["x-clickhouse-exception-code"]) == (403, "516")
    by_params = httpx.post(endpoint.url, params={"user": "reader", "password": "reader-password"}, content="SELECT 1")
    assert by_params.text == "1\n"
    named = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": "reader-password"}
    assert httpx.post(endpoint.url, headers=named, content="SELECT 1").text == "1\n"


def test_an_answer_has_true_numbers(endpoint: Endpoint) -> None:
    answer = endpoint.ask("SELECT number FROM numbers(1000) WHERE number % 2 FORMAT JSONEachRow", query_id="mine")
    numbers = json.loads(answer.headers["x-clickhouse-summary"])
    assert (numbers["read_rows"], numbers["read_bytes"], numbers["result_rows"]) == ("1000", "8000", "500")
    assert numbers["result_bytes"] == str(len(answer.content))
    assert int(numbers["elapsed_ns"]) > 0
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-format"] == "JSONEachRow"
    assert answer.headers["x-clickhouse-timezone"]
    assert answer.headers["content-type"].startswith("application/x-ndjson")


def test_an_insert_tells_what_it_wrote(endpoint: Endpoint) -> None:
    endpoint.value("CREATE TABLE wrote (a Int64) ENGINE = MergeTree ORDER BY a")
    answer = endpoint.ask("INSERT INTO wrote SELECT number FROM numbers(300)")
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "300"
    answer = endpoint.ask("INSERT INTO wrote FORMAT TSV", content=b"1\n2\n")
    numbers = json.loads(answer.headers["x-clickhouse-summary"])
    assert (numbers["written_rows"], numbers["written_bytes"]) == ("2", "16")


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("SELECT * FROM nowhere", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT no_function(1)", 404, "46", "UNKNOWN_FUNCTION"),
        ("SELECT 1 SETTINGS no_setting = 1", 404, "115", "UNKNOWN_SETTING"),
        ("SELECT throwIf(number = 3) FROM numbers(9)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1; SELECT 2", 400, "62", "SYNTAX_ERROR"),
        ("SELECT 1 FORMAT Nothing", 404, "73", "UNKNOWN_FORMAT"),
        ("SELECT {x:Int8}", 400, "456", "UNKNOWN_QUERY_PARAMETER"),
        ("", 400, "62", "SYNTAX_ERROR"),
        ("DROP TABLE nowhere", 404, "60", "UNKNOWN_TABLE"),
    ],
)
def test_an_early_error_is_clickhouses_own(endpoint: Endpoint, sql: str, status: int, code: str, name: str) -> None:
    answer = endpoint.ask(sql)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, code)
    assert re.fullmatch(rf"Code: {code}\. DB::Exception: .* \({name}\) \(version 2\S+\)\n", answer.text, re.DOTALL)
    assert "/dev/fd" not in answer.text


def _raw(endpoint: Endpoint, sql: str) -> bytes:
    """The bytes of an answer, however it ends."""
    parts = urlsplit(endpoint.url)
    head = (
        f"POST /?user=admin&password=admin-password HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sql)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as sock:
        sock.sendall(head.encode() + sql.encode())
        received = b""
        while piece := sock.recv(1 << 20):
            received += piece
    return received


def test_a_late_error_is_framed_and_the_answer_is_cut(endpoint: Endpoint) -> None:
    received = _raw(endpoint, "SELECT throwIf(number = 2000000), number FROM system.numbers FORMAT CSV")
    head, _, body = received.partition(b"\r\n\r\n")
    tag = re.search(rb"x-clickhouse-exception-tag: (\w{16})", head)
    assert head.startswith(b"HTTP/1.1 200")
    assert tag is not None
    assert b"__exception__\r\n%s\r\nCode: 395. DB::Exception: Value" % tag[1] in body
    assert b" %s\r\n__exception__\r\n" % tag[1] in body
    assert not body.endswith(b"0\r\n\r\n"), "the last chunk would say that the answer is whole"


def test_held_back_to_the_end_a_late_error_is_a_status(endpoint: Endpoint) -> None:
    sql = "SELECT throwIf(number = 2000000), number FROM system.numbers FORMAT CSV"
    assert endpoint.ask(sql, wait_end_of_query=1).status_code == 500


def test_large_results_stream_while_the_query_runs(endpoint: Endpoint) -> None:
    sql = "SELECT number, repeat('x', 100) FROM system.numbers FORMAT JSONCompactEachRow"
    seen = 0
    with httpx.stream("POST", endpoint.url, content=sql, auth=("admin", "admin-password"), timeout=60) as answer:
        for piece in answer.iter_bytes():
            seen += len(piece)
            if seen > 20_000_000:
                break
    _eventually(lambda: endpoint.value("SELECT count() FROM system.processes WHERE query LIKE '%numbers%'") == "1")


def test_a_client_that_goes_away_takes_its_query_along(endpoint: Endpoint) -> None:
    sql = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%'"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(endpoint.url, content=sql, auth=("admin", "admin-password"), timeout=0.5)
    _eventually(lambda: endpoint.value(running) == "1")  # this question alone


@pytest.mark.parametrize("fmt", ["JSON", "Native", "Parquet", "ArrowStream", "TSVWithNamesAndTypes", "XML"])
def test_streamed_documents_are_whole(endpoint: Endpoint, fmt: str) -> None:
    sql = f"SELECT number, toString(number) AS s FROM numbers(200000) SETTINGS max_block_size = 1000 FORMAT {fmt}"
    held = endpoint.ask(sql, wait_end_of_query=1, output_format_json_quote_64bit_integers=0).content
    streamed = endpoint.ask(sql, buffer_size=0, output_format_json_quote_64bit_integers=0).content
    if fmt in ("JSON", "XML"):  # these tell how long the query took
        held, streamed = (re.sub(rb"elapsed\W+[\d.e-]+", b"", text) for text in (held, streamed))
    assert streamed == held
    assert len(held) > 100


def test_answers_are_compressed_on_request(endpoint: Endpoint) -> None:
    sql = "SELECT number FROM numbers(500000)"
    plain = endpoint.ask(sql).content
    decoders = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    for encoding, decompress in decoders.items():
        for buffer_size in (0, 1 << 30):
            request = httpx.Request(
                "POST", endpoint.url, content=sql, headers={"Accept-Encoding": encoding},
                params={"enable_http_compression": 1, "buffer_size": buffer_size, "user": "admin",
                        "password": "admin-password"},
            )  # fmt: skip
            with httpx.Client(timeout=60) as client:
                answer = client.send(request, stream=True)
                assert answer.headers["content-encoding"] == encoding
                assert decompress(b"".join(answer.iter_raw())) == plain
                answer.close()
    assert "content-encoding" not in endpoint.ask(sql).headers


def test_parameters_settings_and_raw_bytes(endpoint: Endpoint) -> None:
    assert endpoint.value("SELECT {a:Int32} + {b:Array(Int8)}[1]", param_a=5, param_b="[1,2]") == "6"
    assert endpoint.value("SELECT {s:String} = 'a\tb\\'c'", param_s="a\\tb'c") == "1"
    assert endpoint.value("SELECT * FROM {t:Identifier}.one", param_t="system") == "0"
    assert endpoint.value("SELECT getSetting('max_block_size')", max_block_size=777) == "777"
    assert endpoint.value("SELECT currentDatabase()", database="procurator") == "procurator"
    assert endpoint.value("SELECT 1", default_format="JSONEachRow") == '{"1":1}'
    assert endpoint.ask(b"SELECT hex('\xff\xfe')").text == "FFFE\n"
    assert endpoint.ask("SELECT 1", database="nowhere").headers["x-clickhouse-exception-code"] == "81"
    assert endpoint.ask("SELECT 1", no_such_setting=1).headers["x-clickhouse-exception-code"] == "115"


def test_get_only_reads(endpoint: Endpoint) -> None:
    assert endpoint.ask("SELECT 1", method="GET").text == "1\n"
    answer = endpoint.ask("CREATE TABLE got (a Int8) ENGINE = Memory", method="GET")
    assert answer.headers["x-clickhouse-exception-code"] == "164"
    assert "method GET implies readonly" in answer.text


def test_a_session_keeps_settings_database_and_temporary_tables(endpoint: Endpoint) -> None:
    sid = {"session_id": "s1"}
    missing = endpoint.ask("SELECT 1", session_check=1, **sid)
    assert (missing.status_code, missing.headers["x-clickhouse-exception-code"]) == (404, "372")
    endpoint.value("CREATE TEMPORARY TABLE t (a Int8)", **sid)
    endpoint.value("INSERT INTO t VALUES (1), (2)", **sid)
    endpoint.value("SET max_block_size = 123", **sid)
    endpoint.value("USE procurator", **sid)
    assert endpoint.value("SELECT sum(a), getSetting('max_block_size'), currentDatabase() FROM t", **sid) == (
        "3\t123\tprocurator"
    )
    # Settings and database of one request end with it.
    assert endpoint.value("SELECT getSetting('max_block_size')", max_block_size=9, database="finops", **sid) == "9"
    assert endpoint.value("SELECT getSetting('max_block_size'), currentDatabase()", **sid) == "123\tprocurator"
    # It is this user's, and ends when asked to.
    assert endpoint.ask("SELECT * FROM t", "reader", **sid).headers["x-clickhouse-exception-code"] == "60"
    assert endpoint.value("SELECT 1", close_session=1, **sid) == "1"
    assert endpoint.ask("SELECT * FROM t", **sid).headers["x-clickhouse-exception-code"] == "60"


def test_a_session_serves_one_request_at_a_time(endpoint: Endpoint) -> None:
    sql = "SELECT sleepEachRow(0.2) FROM numbers(25) SETTINGS max_block_size = 1"
    session = {"auth": ("admin", "admin-password"), "params": {"session_id": "busy"}, "timeout": 60}
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(httpx.post, endpoint.url, content=sql, **session)
        running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.2)%'"
        _eventually(lambda: endpoint.value(running) == "2")  # itself is one
        answer = httpx.post(endpoint.url, content="SELECT 1", **session)
        assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (500, "373")
        busy.result()
        assert httpx.post(endpoint.url, content="SELECT 1", **session).text == "1\n"


def test_external_tables_join_a_query(endpoint: Endpoint) -> None:
    files = {"ids": ("ids.tsv", b"1\n3\n")}
    sql = "SELECT count() FROM numbers(10) WHERE number IN ids"
    for user in ("admin", "reader"):
        answer = endpoint.ask(sql, user, files=files, ids_structure="id UInt64", ids_format="TSV")
        assert answer.text == "2\n"
    evil = endpoint.ask(sql, "reader", files=files, ids_structure="a Int8) AS SELECT file('/etc/passwd') --")
    assert evil.headers["x-clickhouse-exception-code"] == "36"


def test_clickhouse_connect_reads_and_writes(endpoint: Endpoint) -> None:
    parts = urlsplit(endpoint.url)
    assert parts.hostname is not None
    client = clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port or 0, username="admin", password="admin-password", compress="lz4"
    )
    client.command("CREATE TABLE native (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    client.insert("native", [[i, f"row {i}"] for i in range(100_000)], column_names=["a", "s"])
    assert client.query("SELECT count(), uniqExact(s) FROM native").result_rows == [(100_000, 100_000)]
    assert len(client.query("SELECT * FROM native ORDER BY a").result_rows) == 100_000
    client.close()
