"""Requests: parameters, settings, credentials, forms."""

import base64

import pytest

from procurator.deploy.embedded.clickhouse.request import Request, credentials, parse_request, parse_values
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError


def _request(query: str = "", body: bytes = b"", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_request("POST", parse_values(query.encode()), named, memoryview(body))


def test_what_is_not_reserved_is_a_setting() -> None:
    request = _request("query=SELECT+1&database=d&max_threads=2&param_x=7&session_id=s&enable_http_compression=1")
    assert request.settings == {"max_threads": "2", "enable_http_compression": "1"}
    assert request.params == {"x": "7"}
    assert (request.query, request.database) == (b"SELECT 1", "d")


def test_bytes_of_the_query_stay_as_they_are() -> None:
    assert _request("query=SELECT+%27%FF%C3%A9%27").query == b"SELECT '\xff\xc3\xa9'"


def test_credentials_in_three_places() -> None:
    basic = {"authorization": "Basic " + base64.b64encode(b"u:p:w").decode()}
    assert credentials({}, basic) == ("u", "p:w")
    assert credentials({}, {"x-clickhouse-user": "h", "x-clickhouse-key": "k", **basic}) == ("h", "k")
    assert credentials(parse_values(b"user=q&password=w"), {}) == ("q", "w")
    assert credentials({}, {}) == (None, None)
    with pytest.raises(ClickHouseError, match="Invalid Basic credentials"):
        credentials({}, {"authorization": "Basic ?"})


@pytest.mark.parametrize(
    ("query", "code"),
    [("a%20b=1", 115), ("param_a-b=1", 36), ("compress=1", 48), ("decompress=1", 48)],
)
def test_what_cannot_be_taken(query: str, code: int) -> None:
    with pytest.raises(ClickHouseError) as error:
        _request(query)
    assert error.value.code == code


def test_formats_and_numbers_are_checked() -> None:
    with pytest.raises(ClickHouseError, match="Unknown format"):
        _ = _request("default_format=TSV'").default_format
    with pytest.raises(ClickHouseError, match="is not a number"):
        _request("session_timeout=x").number("session_timeout", 60)
    assert _request("wait_end_of_query=1").buffer_bytes is None
    assert _request("wait_end_of_query=0").buffer_bytes == 0
    assert _request("").buffer_bytes == 1 << 20


FORM = "multipart/form-data; boundary=B"


def _form(*parts: tuple[str, bytes]) -> bytes:
    whole = b"".join(b"--B\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return whole + b"--B--\r\n"


def test_external_tables_come_as_files_of_a_form() -> None:
    body = _form(
        ('Content-Disposition: form-data; name="t"; filename="x"', b"1\r\n2\r\n"),
        ('Content-Disposition: form-data; name="query"', b"SELECT 1"),
        ('Content-Disposition: form-data; name="param_a"', b"5"),
    )
    request = _request("t_types=UInt8,Tuple(A,+B)&t_format=CSV", body, content_type=FORM)
    (table,) = request.external
    assert (table.name, table.structure, table.format) == ("t", "_1 UInt8, _2 Tuple(A, B)", "CSV")
    assert bytes(table.data) == b"1\r\n2\r\n"
    assert (request.query, request.params, request.settings) == (b"SELECT 1", {"a": "5"}, {})


def test_a_form_that_breaks_off_is_refused() -> None:
    body = _form(('Content-Disposition: form-data; name="query"', b"SELECT 1"))
    with pytest.raises(ClickHouseError, match="the form does not end"):
        _request("", body[:-6], content_type=FORM)


def test_an_external_table_needs_a_structure() -> None:
    body = _form(('Content-Disposition: form-data; name="t"; filename="x"', b""))
    with pytest.raises(ClickHouseError, match="Neither t_structure nor t_types"):
        _request("", body, content_type=FORM)
