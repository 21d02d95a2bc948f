"""What people are told when something is wrong: a page with the way on, or a word beside the field."""

from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field, ValidationError

from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.auth import AdminKey
from procurator.query_api.pages import BadCursor
from procurator.query_api.problems import FieldProblem, Problem, forbidden, invalid, unauthorized
from procurator.query_api.ui.assets import Assets
from procurator.query_api.ui.browser_sessions import BrowserSessions
from procurator.query_api.ui.forms import names_in, wrong_fields
from procurator.query_api.ui.page import PageRoute, environment


def _answer(
    error: Exception, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers of a page whose route raises ``error``."""
    router = APIRouter(route_class=PageRoute)

    @router.api_route("/page", methods=["GET", "POST"])
    async def page() -> None:
        raise error

    app = FastAPI()
    app.state.templates = environment(Settings(), Assets.read())
    app.state.browser_sessions, app.state.authenticator = BrowserSessions("secret"), AdminKey("secret")
    app.include_router(router)
    answer = TestClient(app, follow_redirects=False).request(method, "/page?q=a b", headers=headers)
    return answer.status_code, answer.text, dict(answer.headers)


def test_what_is_away_may_be_tried_again_at_the_same_place() -> None:
    status, text, headers = _answer(Unavailable("ClickHouse at <here> does not answer"))
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "ClickHouse at &lt;here&gt; does not answer." in text
    assert 'href="/page?q=a%20b">Try again' in text
    assert headers["retry-after"]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (forbidden("this needs the permission admin"), 403, "This needs the permission admin."),
        (BadCursor("this is not a cursor"), 422, "This page is gone"),
    ],
)
def test_other_errors_say_what_is_wrong_and_lead_on(error: Exception, status: int, said: str) -> None:
    answered, text, _ = _answer(error)
    assert answered == status
    assert said in text
    assert "All sessions" in text
    assert "Try again" not in text


def test_who_is_not_signed_in_signs_in_and_comes_back() -> None:
    status, _, headers = _answer(unauthorized("who?"))
    assert (status, headers["location"]) == (303, "/signin?next=%2Fpage%3Fq%3Da%2520b")
    status, text, _ = _answer(unauthorized("who?"), {"X-Fragment": "1"})
    assert (status, text) == (401, ""), "a script sends the whole page there by itself"


@pytest.mark.parametrize(
    ("referer", "path"),
    [
        ("http://testserver/budgets/b1/edit?x=1", "/budgets/b1/edit?x=1"),
        ("https://testserver/keys", "/keys"),
        ("https://evil.example/keys", "/"),
        ("http://testserver@evil.example/keys", "/"),
        ("http://testserver//evil.example/", "/"),
        ("http://testserver/\\evil.example/", "/"),
        ("http://[", "/"),
        ("", "/"),
    ],
)
def test_a_form_sent_too_late_leads_back_to_the_page_that_it_stood_on(referer: str, path: str) -> None:
    status, _, headers = _answer(unauthorized("who?"), {"Referer": referer}, "POST")
    assert status == HTTPStatus.SEE_OTHER
    assert parse_qs(urlsplit(headers["location"]).query) == {"next": [path]}


class _Body(BaseModel):
    limit: int = Field(ge=1)


def test_what_is_wrong_stands_beside_its_field() -> None:
    with pytest.raises(ValidationError) as caught:
        _Body(limit=0)
    assert wrong_fields(caught.value) == {"limit": "Input should be greater than or equal to 1"}
    assert wrong_fields(invalid([FieldProblem(field="url", message="use https")])) == {"url": "use https"}
    with pytest.raises(Problem, match="not yours"):
        wrong_fields(forbidden("not yours"))


def test_names_are_separated_by_commas() -> None:
    assert names_in(" payments,, support ,") == ["payments", "support"]
    assert names_in(None) == []
