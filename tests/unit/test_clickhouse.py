"""How ClickHouse's answers become behaviours."""

import httpx
import pytest

from procurator.clickhouse import ClickHouse, TooLate, bound, refusal
from procurator.errors import Fatal, ProcuratorError, Unavailable, UserError


def answer(status: int, code: int | None, text: str = "Code: …") -> httpx.Response:
    headers = {} if code is None else {"X-ClickHouse-Exception-Code": str(code)}
    return httpx.Response(status, headers=headers, text=text)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer(500, 241), Unavailable),
        (answer(500, 252), Unavailable),
        (answer(503, None), Unavailable),
        (answer(500, 395), TooLate),
        (answer(404, 60), UserError),
        (answer(404, 81), UserError),
        (answer(403, 516), UserError),
        (answer(400, 62), Fatal),
        (answer(200, 47), Fatal),
    ],
)
def test_an_error_code_is_a_behaviour(response: httpx.Response, kind: type[ProcuratorError]) -> None:
    assert type(refusal("http://ch/", response)) is kind


def test_a_result_is_no_error() -> None:
    assert refusal("http://ch/", answer(200, None)) is None


def test_what_a_user_can_mend_says_how() -> None:
    assert "(run `procurator setup`)" in str(refusal("http://ch/", answer(404, 60)))


def test_nobody_listening_is_an_outage() -> None:
    with pytest.raises(Unavailable, match=r"ClickHouse at http://127\.0\.0\.1:9/ does not answer"):
        ClickHouse("http://127.0.0.1:9", "user", "", "db").rows("SELECT 1")


def test_parameters_are_escaped_as_the_server_reads_them() -> None:
    assert bound({"a": "x\ty\\\n\0", "n": 5, "l": ["it's", "b\\"], "i": [1, 2]}) == {
        "param_a": "x\\ty\\\\\\n\\0",
        "param_n": "5",
        "param_l": "['it\\'s','b\\\\']",
        "param_i": "[1,2]",
    }
