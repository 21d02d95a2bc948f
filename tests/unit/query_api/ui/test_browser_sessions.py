"""Sign-in without a server: what a cookie opens, for how long, and what it may change."""

from http.cookies import SimpleCookie
from types import SimpleNamespace

import pytest
from fastapi import Request, Response

from procurator.query_api.auth import AdminKey
from procurator.query_api.problems import Problem
from procurator.query_api.ui.browser_sessions import CSRF_HEADER, SESSION_S, BrowserSessions, local_path
from procurator.query_api.ui.login_links import LINK_S, LoginLinks

_KEY = "the-key"


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> BrowserSessions:
    return BrowserSessions("secret", clock=clock)


def _request(cookie: str = "", method: str = "GET", host: str = "127.0.0.1", **headers: str) -> Request:
    lines = {"host": host, "cookie": cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
    app = SimpleNamespace(state=SimpleNamespace(authenticator=AdminKey(_KEY)))
    raw = [(name.lower().encode(), value.encode()) for name, value in lines.items() if value]
    return Request(
        {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw, "scheme": "http",
         "server": (host, 80), "app": app}
    )  # fmt: skip


def _cookie(sessions: BrowserSessions, token: str = _KEY, host: str = "127.0.0.1") -> tuple[str, str]:
    """Return the Cookie header of a session that was opened, and the attributes it was set with."""
    response = Response()
    sessions.open(_request(host=host), response, token)
    line = response.headers["set-cookie"]
    [morsel] = SimpleCookie(line).values()
    return f"{morsel.key}={morsel.value}", line


async def test_a_session_acts_with_the_key_that_opened_it(sessions: BrowserSessions) -> None:
    cookie, line = _cookie(sessions)
    assert "HttpOnly" in line
    assert "samesite=lax" in line.lower()
    assert _KEY not in line
    principal = await sessions.principal(_request(cookie))
    assert principal is not None
    assert principal.principal_id == "key:admin"


async def test_the_cookie_is_secure_beyond_loopback(sessions: BrowserSessions) -> None:
    assert "secure" not in _cookie(sessions)[1].lower()
    assert "secure" in _cookie(sessions, host="ledger.example.com")[1].lower()


async def test_a_session_expires(sessions: BrowserSessions, clock: Clock) -> None:
    cookie, _ = _cookie(sessions)
    clock.now += SESSION_S - 1
    assert await sessions.principal(_request(cookie)) is not None
    clock.now += 2
    assert await sessions.principal(_request(cookie)) is None


async def test_a_key_that_is_no_more_opens_nothing(sessions: BrowserSessions) -> None:
    assert await sessions.principal(_request(_cookie(sessions, "revoked")[0])) is None


async def test_a_cookie_of_another_installation_opens_nothing(sessions: BrowserSessions, clock: Clock) -> None:
    other = BrowserSessions("another secret", clock=clock)
    value = _cookie(other)[0].partition("=")[2]
    assert await sessions.principal(_request(f"{sessions.cookie}={value}")) is None
    assert other.cookie != sessions.cookie


async def test_a_change_needs_the_sessions_token(sessions: BrowserSessions) -> None:
    cookie, _ = _cookie(sessions)
    csrf = sessions.csrf(_request(cookie))
    for wrong in ("", "x", csrf[:-1], csrf.upper()):
        with pytest.raises(Problem) as refused:
            await sessions.principal(_request(cookie, "POST", **({CSRF_HEADER: wrong} if wrong else {})))
        assert refused.value.status == 403
    assert await sessions.principal(_request(cookie, "POST", **{CSRF_HEADER: csrf})) is not None


async def test_signed_out_is_signed_out_for_every_copy_of_the_cookie(sessions: BrowserSessions) -> None:
    cookie, _ = _cookie(sessions)
    sessions.end(_request(cookie), Response())
    assert await sessions.principal(_request(cookie)) is None


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/sessions?q=a%20b", "/sessions?q=a%20b"),
        ("/sessions/1#turn-2", "/sessions/1#turn-2"),
        (None, "/"),
        ("", "/"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("/\t/elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_nobody_is_sent_elsewhere(target: str | None, path: str) -> None:
    assert local_path(target) == path


def test_a_link_works_once_and_not_for_ever(clock: Clock) -> None:
    links = LoginLinks(clock)
    code = links.make(_KEY)
    assert links.redeem("x" * len(code)) is None
    assert links.redeem(code) == _KEY
    assert links.redeem(code) is None
    late = links.make(_KEY)
    clock.now += LINK_S + 1
    assert links.redeem(late) is None
