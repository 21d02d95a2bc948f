"""ClickHouse's errors and headers on the wire."""

import json

import pytest

from procurator.deploy.embedded.clickhouse.wire import (
    ClickHouseError,
    Summary,
    content_type,
    late_error,
    new_tag,
)


@pytest.mark.parametrize(
    ("message", "code", "text", "name", "status"),
    [
        ("Code: 62. DB::Exception: Syntax error: x. (SYNTAX_ERROR)", 62, "Syntax error: x", "SYNTAX_ERROR", 400),
        ("Code: 60. DB::Exception: No t. (UNKNOWN_TABLE) (version 26.9.2.1)", 60, "No t", "UNKNOWN_TABLE", 404),
        (
            "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown 'a'. (UNKNOWN_SETTING) (version 26.9.2.1 "
            "(official build)). (UNKNOWN_SETTING)",
            115, "Unknown 'a'.", "UNKNOWN_SETTING", 404,
        ),
        ("Code: 210. DB::NetException: Refused (h:9). (NETWORK_ERROR)", 210, "Refused (h:9)", "NETWORK_ERROR", 500),
        (
            "Code: 27. DB::Exception: Bad row: (in file/uri /dev/fd/9): While executing File: data for INSERT was"
            " parsed from file. (CANNOT_PARSE_INPUT)",
            27, "Bad row: While executing File", "CANNOT_PARSE_INPUT", 400,
        ),
        ("out of the blue", 1002, "out of the blue", "UNKNOWN_EXCEPTION", 500),
    ],
)  # fmt: skip
def test_the_engines_messages_are_read(message: str, code: int, text: str, name: str, status: int) -> None:
    error = ClickHouseError.parse(message)
    assert (error.code, error.text, error.name, error.status) == (code, text, name, status)


def test_an_error_is_one_line_as_clickhouse_writes_it() -> None:
    error = ClickHouseError(62, "Syntax error", "SYNTAX_ERROR")
    assert error.body("26.9.2.1") == b"Code: 62. DB::Exception: Syntax error. (SYNTAX_ERROR) (version 26.9.2.1)\n"


def test_a_late_error_is_framed_by_the_tag() -> None:
    tag = new_tag()
    assert len(tag) == 16
    assert tag.isalpha()
    assert late_error(b"Code: 1\n", "t" * 16) == (
        b"\r\n__exception__\r\ntttttttttttttttt\r\nCode: 1\n8 tttttttttttttttt\r\n__exception__\r\n"
    )


def test_the_summary_never_falls_and_holds_strings() -> None:
    summary = Summary()
    summary.update({"read_rows": 5, "elapsed_ns": 2.5, "else": 1})
    summary.update({"read_rows": 3, "written_rows": 7})
    numbers = json.loads(summary.header())
    assert (numbers["read_rows"], numbers["written_rows"], numbers["elapsed_ns"]) == ("5", "7", "2")
    assert "else" not in numbers


@pytest.mark.parametrize(
    ("fmt", "kind"),
    [("JSONEachRow", "application/x-ndjson"), ("JSONCompact", "application/json"), ("CSVWithNames", "text/csv"),
     ("RowBinaryWithNames", "application/octet-stream"), ("Pretty", "text/plain"), ("TSVRaw", "text/tab-separated")],
)  # fmt: skip
def test_content_types(fmt: str, kind: str) -> None:
    assert content_type(fmt).startswith(kind)
