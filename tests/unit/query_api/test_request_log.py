"""The log: one line of JSON for everything, whatever is in it."""

import io
import logging

import orjson
import pytest

from procurator.logs import JsonLines


def _lines(message: str, exception: Exception | None = None, **fields: object) -> list[dict[str, object]]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("procurator.test-log")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        logger.error(message, exc_info=exception, extra={"fields": fields})
    finally:
        logger.removeHandler(handler)
    return [orjson.loads(line) for line in written.getvalue().split("\n") if line]


@pytest.mark.parametrize("hostile", ["a\nb", 'x"}\n{"level": "info", "forged": true}', "\r\n\x1b[2J", "\x00\u2028é"])
def test_nothing_that_is_sent_begins_a_line_of_its_own(hostile: str) -> None:
    [line] = _lines(hostile, path=hostile, principal=hostile)
    assert (line["message"], line["path"], line["principal"]) == (hostile, hostile, hostile)
    assert "forged" not in line


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        [line] = _lines("request", error, request_id="r1")
    assert (line["level"], line["logger"], line["request_id"]) == ("error", "procurator.test-log", "r1")
    assert "ValueError: two\nlines" in str(line["exception"])
    assert str(line["time"]).endswith("Z")
