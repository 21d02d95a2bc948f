"""Retention periods: who keeps what for how long, and a file that is wrong says where, a line for each error."""

from pathlib import Path

import pytest

from procurator.errors import UserError
from procurator.retention.policy import DEFAULT_DAYS, RetentionPolicy, load, parse

FILE = """
days = 200

[organisation.acme]
days = 400
team.payments = 730
team."night shift" = 30

[organisation.other]
team.desk = 0
"""


def test_a_team_goes_before_its_organisation_and_that_before_everybody() -> None:
    policy = parse(FILE)
    assert policy.days("acme", "payments") == 730
    assert policy.days("acme", "night shift") == 30
    assert policy.days("acme", "another") == 400
    assert policy.days("other", "desk") == 0
    assert policy.days("other", "payments") == policy.days("nobody", "") == 200
    assert policy.shortest_days == 0


def test_without_a_file_it_is_ninety_days(tmp_path: Path) -> None:
    policy = load(tmp_path / "retention.toml")
    assert policy == RetentionPolicy()
    assert policy.days("acme", "payments") == DEFAULT_DAYS == 90


def test_it_warns_of_periods_below_six_months() -> None:
    warnings = parse(FILE).warnings()
    assert [warning.partition(":")[0] for warning in warnings] == [
        "30 days for team night shift of acme",
        "0 days for team desk of other",
    ]
    assert all("six months" in warning for warning in warnings)
    assert len(RetentionPolicy().warnings()) == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("days = -1", ["r.toml: days must be a whole number of days from 0 to 36500, not -1"]),
        ("days = 1.5", ["r.toml: days must be a whole number of days from 0 to 36500, not 1.5"]),
        ("days = true", ["r.toml: days must be a whole number of days from 0 to 36500, not True"]),
        ("dais = 3", ["r.toml: dais is unknown; there are days and organisation"]),
        ("organisation = 3", ["r.toml: organisation must be tables such as [organisation.acme]"]),
        ("organisation.a = 3", ["r.toml: organisation.a must be a table with days, team or both, not 3"]),
        (
            "[organisation.a]\nteam = 3",
            ["r.toml: organisation.a.team must name teams, such as team.payments = 30, not 3"],
        ),
        (
            "days = 'x'\n[organisation.a]\nday = 3\nteam.b = 99999",
            [
                "r.toml: days must be a whole number of days from 0 to 36500, not 'x'",
                "r.toml: organisation.a.day is unknown; there are days and team",
                "r.toml: organisation.a.team.b must be a whole number of days from 0 to 36500, not 99999",
            ],
        ),
    ],
)
def test_each_error_is_one_line(text: str, lines: list[str]) -> None:
    with pytest.raises(UserError) as error:
        parse(text, "r.toml")
    assert str(error.value).split("\n") == lines


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"days =", "no TOML"), (b"\xff", "not UTF-8 at byte 0"), (b"#" * (1 << 21), "larger than")],
)
def test_a_file_that_is_none_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "retention.toml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        load(path)
