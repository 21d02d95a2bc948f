"""How long ended sessions are kept, by organisation and team: a TOML file, checked whole. Pure but for `load`.

::

    days = 90                    # for everybody who is not named below

    [organisation.acme]
    days = 400                   # optional: for this organisation
    team.payments = 730          # optional: for one of its owner teams

Days count from the broker's time of a session's last record.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from procurator.errors import UserError

DEFAULT_DAYS = 90
DAYS_MAX = 36_500
BYTES_MAX = 1 << 20
#: The longest six months have as many days. EU AI Act, Articles 19 and 26(6): logs of high-risk systems.
SIX_MONTHS_DAYS = 184
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class RetentionPolicy:
    """Days by organisation, and by (organisation, owner team), which goes before."""

    default_days: int = DEFAULT_DAYS
    organisations: Mapping[str, int] = field(default_factory=dict)
    teams: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def days(self, org_id: str, owner_team_id: str) -> int:
        """Return how many days an owner team's sessions are kept."""
        by_organisation = self.organisations.get(org_id, self.default_days)
        return self.teams.get((org_id, owner_team_id), by_organisation)

    @property
    def shortest_days(self) -> int:
        """Return the days of whoever keeps sessions for the shortest time."""
        return min((self.default_days, *self.organisations.values(), *self.teams.values()))

    def warnings(self) -> list[str]:
        """Return a line for each period below the EU AI Act's six months."""
        named = {"everybody not named": self.default_days}
        named |= {f"organisation {org_id}": days for org_id, days in self.organisations.items()}
        named |= {f"team {team} of {org_id}": days for (org_id, team), days in self.teams.items()}
        return [
            f"{days} days for {whom}: the EU AI Act asks for six months of logs from high-risk systems"
            " (Articles 19 and 26)"
            for whom, days in named.items()
            if days < SIX_MONTHS_DAYS
        ]


def load(path: Path) -> RetentionPolicy:
    """Return the policy in a file, the default one when there is no file. Raises UserError: a line for each error."""
    try:
        with path.open("rb") as source:
            raw = source.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return RetentionPolicy()
    except OSError as error:
        raise UserError(f"{path}: cannot read the retention periods: {error.strerror}") from None
    if len(raw) > BYTES_MAX:
        raise UserError(f"{path}: larger than {BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    return parse(text, str(path))


def parse(text: str, file: str = "retention.toml") -> RetentionPolicy:
    """Return the policy in a text. Raises UserError with a line for each error."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: no TOML: {error}") from None
    if errors := list(_errors(document)):
        raise UserError("\n".join(f"{file}: {error}" for error in errors))
    organisations = document.get("organisation", {})
    return RetentionPolicy(
        default_days=document.get("days", DEFAULT_DAYS),
        organisations={org_id: each["days"] for org_id, each in organisations.items() if "days" in each},
        teams={
            (org_id, team): days
            for org_id, each in organisations.items()
            for team, days in each.get("team", {}).items()
        },
    )


def _errors(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown("", document, ("days", "organisation"))
    yield from _days("days", document.get("days", DEFAULT_DAYS))
    organisations = document.get("organisation", {})
    if not isinstance(organisations, dict):
        yield "organisation must be tables such as [organisation.acme]"
        return
    for org_id, each in organisations.items():
        where = f"organisation.{org_id}"
        if not isinstance(each, dict):
            yield f"{where} must be a table with days, team or both, not {each!r}"
            continue
        yield from _unknown(f"{where}.", each, ("days", "team"))
        yield from _days(f"{where}.days", each.get("days", DEFAULT_DAYS))
        teams = each.get("team", {})
        if not isinstance(teams, dict):
            yield f"{where}.team must name teams, such as team.payments = 30, not {teams!r}"
            continue
        for team, days in teams.items():
            yield from _days(f"{where}.team.{team}", days)


def _unknown(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for name in table.keys() - set(known):
        yield f"{where}{name} is unknown; there are {' and '.join(known)}"


def _days(where: str, value: Any) -> Iterator[str]:
    if type(value) is not int or not 0 <= value <= DAYS_MAX:
        yield f"{where} must be a whole number of days from 0 to {DAYS_MAX}, not {value!r}"
