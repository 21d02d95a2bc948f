"""The ids of streams: what they hold, and that nobody makes or reads one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.query_api.live.resume import BadResumeId, Seal

TOPIC = "7d0c9b1e-8a5f-4c3d-9e2b-1f0a6c5d4e3b"
PLACES = st.dictionaries(st.integers(0, 1023).map(lambda n: f"{TOPIC}:{n}"), st.integers(-1, 2**53))


@given(PLACES)
def test_an_id_says_where_a_listener_stood(position: dict[str, int]) -> None:
    seal = Seal("secret")
    assert seal.open("list", seal.close("list", position)) == position


def test_another_process_with_the_same_secret_opens_it() -> None:
    assert Seal("secret").open("list", Seal("secret").close("list", {f"{TOPIC}:0": 7})) == {f"{TOPIC}:0": 7}


def test_an_id_says_nothing() -> None:
    text = Seal("secret").close("list", {f"{TOPIC}:0": 123456789})
    assert text != Seal("secret").close("list", {f"{TOPIC}:0": 123456789})
    assert "123456789" not in text
    assert len(Seal("secret").close("list", {f"{TOPIC}:{n}": 2**40 for n in range(64)})) < 4000


@pytest.mark.parametrize(
    ("stream", "secret", "change"),
    [
        ("session a", "secret", lambda text: text),
        ("list", "another", lambda text: text),
        ("list", "secret", lambda text: text[:-2]),
        ("list", "secret", lambda text: ("B" if text[0] == "A" else "A") + text[1:]),
        ("list", "secret", lambda _: ""),
        ("list", "secret", lambda _: "ü"),
        ("list", "secret", lambda _: "not base64!"),
        ("list", "secret", lambda _: "AAAA"),
    ],
)
def test_any_other_text_is_refused(stream: str, secret: str, change: object) -> None:
    assert callable(change)
    text = change(Seal("secret").close("list", {f"{TOPIC}:0": 7}))
    with pytest.raises(BadResumeId, match="this is no id of this stream: start again without it"):
        Seal(secret).open(stream, text)
