"""Where statements end and data begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.deploy.embedded.clickhouse.lexer import tokens
from procurator.deploy.embedded.clickhouse.statement import (
    Insert,
    InsertFromInput,
    Other,
    Select,
    format_of,
    parse,
)
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError


@pytest.mark.parametrize(
    ("text", "fmt"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"select 1 format CSV settings max_threads = 1", "CSV"),
        (b"WITH a AS (SELECT 1 FORMAT) SELECT * FROM a FORMAT Native;", "Native"),
        (b"SELECT 'x FORMAT JSON'", None),
        (b"SELECT 1 -- FORMAT JSON", None),
        (b"SELECT 1 /* FORMAT JSON */", None),
        (b"SELECT `FORMAT JSON` FROM t", None),
        (b"SELECT $$ FORMAT JSON $$", None),
        (b"SELECT '\\' FORMAT JSON'", None),
        (b"(SELECT 1) FORMAT TSV", "TSV"),
        (b"WITH 1 AS format SELECT format FORMAT CSV", "CSV"),
        (b"FROM t SELECT \xff FORMAT TSV", "TSV"),
    ],
)
def test_a_select_and_its_format(text: bytes, fmt: str | None) -> None:
    statement = parse(text)
    assert isinstance(statement, Select)
    assert statement.format == fmt
    assert format_of(text) == fmt


def test_a_select_is_sent_into_a_file_in_front_of_its_format() -> None:
    statement = parse(b"SELECT 1 FORMAT JSON SETTINGS a = 1; -- end")
    assert isinstance(statement, Select)
    assert statement.into("/dev/fd/7", "TSV", "id").split() == (
        b"SELECT 1 INTO OUTFILE '/dev/fd/7' APPEND FORMAT JSON SETTINGS a = 1 /* id */".split()
    )
    bare = parse(b"SELECT 1 -- end")
    assert isinstance(bare, Select)
    assert bare.into("/dev/fd/7", "TSV", "id") == (
        b"SELECT 1 -- end\nINTO OUTFILE '/dev/fd/7' APPEND FORMAT TSV\n/* id */"
    )


@pytest.mark.parametrize(
    ("text", "head", "fmt", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00;'", b"INSERT INTO t ", "Native", b"\x00;'"),
        (b"INSERT INTO t (a, b) FORMAT CSV 1,2\n", b"INSERT INTO t (a, b) ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (b"INSERT INTO t FORMAT LineAsString\n\nx", b"INSERT INTO t ", "LineAsString", b"\nx"),
        (b"insert into d.`t )` values (1);", b"insert into d.`t )` ", "Values", b" (1);"),
        (b"INSERT INTO format FORMAT CSV 1", b"INSERT INTO format ", "CSV", b"1"),
        (b"INSERT INTO TABLE values VALUES (1)", b"INSERT INTO TABLE values ", "Values", b" (1)"),
        (b"WITH 1 AS y INSERT INTO t FORMAT TSV\nx;\n", b"WITH 1 AS y INSERT INTO t ", "TSV", b"x;\n"),
        (b"INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT TSV\n", b"INSERT INTO t SETTINGS a = 'FORMAT x' ", "TSV", b""),
    ],
)
def test_an_insert_and_its_data(text: bytes, head: bytes, fmt: str, data: bytes) -> None:
    statement = parse(text)
    assert isinstance(statement, Insert)
    assert (statement.head, statement.format, text[statement.data_at :]) == (head, fmt, data)


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        (b"INSERT INTO t (a) VALUES (1)", b"INSERT INTO t (a) \n%s\nFORMAT Values"),
        (b"INSERT INTO t SETTINGS x = 1 FORMAT CSV\n1", b"INSERT INTO t \n%sSETTINGS x = 1 \nFORMAT CSV"),
        (b"INSERT INTO settings FORMAT CSV\n1", b"INSERT INTO settings \n%s\nFORMAT CSV"),
    ],
)
def test_an_insert_reads_a_file_before_its_settings(text: bytes, reading: bytes) -> None:
    statement = parse(text)
    assert isinstance(statement, Insert)
    assert statement.reading("/dev/fd/9") == reading % b"FROM INFILE '/dev/fd/9' COMPRESSION 'none' "


def test_an_insert_that_reads_its_data_through_input() -> None:
    text = b"INSERT INTO t SELECT a + 1 FROM input('a Int8, b String') WHERE a FORMAT CSV\n1,2"
    statement = parse(text)
    assert isinstance(statement, InsertFromInput)
    assert text[statement.data_at :] == b"1,2"
    assert statement.reading("/tmp/x") == (
        b"INSERT INTO t SELECT a + 1 FROM file('/tmp/x', 'CSV', 'a Int8, b String') WHERE a "
    )


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t SELECT * FROM x",
        b"WITH 1 AS x INSERT INTO t SELECT x",
        b"INSERT INTO t WITH 1 AS x SELECT x FORMAT Null",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"CREATE TABLE t (format Int8) ENGINE = Memory",
        b"SHOW TABLES",
        b"SELECT 1 INTO OUTFILE 'x'",
    ],
)
def test_what_the_engine_reads_for_itself(text: bytes) -> None:
    assert isinstance(parse(text), Other)


@pytest.mark.parametrize("text", [b"", b"  -- nothing\n", b"SELECT 1; SELECT 2", b"SELECT 1;;DROP TABLE t", b"/* open"])
def test_no_statement_or_several(text: bytes) -> None:
    with pytest.raises(ClickHouseError) as error:
        parse(text)
    assert error.value.code == 62


@given(st.binary(max_size=200))
def test_tokens_cover_any_text_in_order(text: bytes) -> None:
    end = 0
    for token in tokens(text):
        assert token.start >= end
        assert token.text == text[token.start : token.end]
        end = token.end
    assert end <= len(text)


def test_names_are_read_as_the_engine_reads_them() -> None:
    assert [t.name for t in tokens(b"a `B` \"x\\x5fy\" 'no' 7")] == ["a", "b", "x_y", None, None]
