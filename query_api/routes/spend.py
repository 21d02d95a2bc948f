"""Spend: sums of the ledger's model calls, as JSON or CSV."""

import asyncio
import csv
import io
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.spend import SpendGroup, SpendReport, Spent
from procurator.query_api.queries.base import Row
from procurator.query_api.queries.spend import (
    GROUPS_MAX,
    LABEL,
    OF_CALLS,
    OF_SESSIONS,
    TOOL,
    PurgedSpend,
    Spend,
    includes_purged,
)
from procurator.query_api.routes.common import PROBLEMS, InService, answer
from procurator.query_api.routes.filters import FilterParameters
from procurator.query_api.search import SearchError, render

router = APIRouter(prefix="/v1", tags=["spend"], responses=PROBLEMS)

Read = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "spend.read"))]

_GROUPS = (*OF_CALLS, *OF_SESSIONS, TOOL)
_GROUPS_AT_ONCE = 4
_EXAMPLE = "group_by=owner_team,day"


class Format(StrEnum):
    """How the answer is written."""

    JSON = "json"
    CSV = "csv"


class SpendParameters(FilterParameters):
    """Whose spend, and by what."""

    group_by: str = Field(
        "",
        max_length=500,
        description=f"What to group by, separated by commas: {', '.join(_GROUPS)}, {LABEL}NAME. Nothing: the total.",
        examples=["owner_team,day"],
    )
    format: Format = Field(Format.JSON, description="json or csv.")

    def groups(self) -> tuple[str, ...]:
        """Return what to group by, each once. Raises SearchError."""
        groups = tuple(dict.fromkeys(name.strip() for name in self.group_by.split(",") if name.strip()))
        unknown = [name for name in groups if name not in _GROUPS and not (name.startswith(LABEL) and name != LABEL)]
        if unknown:
            known = ", ".join((*_GROUPS, f"{LABEL}NAME"))
            raise SearchError("group_by", f"{', '.join(unknown)}: not one of {known}", _EXAMPLE)
        if len(groups) > _GROUPS_AT_ONCE:
            raise SearchError("group_by", f"at most {_GROUPS_AT_ONCE} at once", _EXAMPLE)
        return groups


@router.get(
    "/spend",
    response_model=SpendReport,
    summary="Sum spend by group",
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def read_spend(access: Read, services: InService, parameters: Annotated[SpendParameters, Query()]) -> Response:
    """Tokens and cost of the model calls of the sessions that meet the filter, by group, with the total.

    From the ledger's entries, to the last digit. What rests on estimates and what has no price stands apart. `purged`
    says what sessions had cost that retention removed, and whether that is part of the figures; as CSV, the header
    `X-Purged-Spend` does.
    """
    search, groups = parameters.search(), parameters.groups()
    with_purged = includes_purged(search, groups)
    by_group = Spend(scope=access.scope, search=search, groups=groups, with_purged=with_purged)
    total = Spend(scope=access.scope, search=search, with_purged=with_purged)
    gone = PurgedSpend(scope=access.scope, search=search)
    queries = (total, gone, by_group) if groups else (total, gone)
    [whole], [purged], *grouped = await asyncio.gather(*map(services.store.rows, queries))
    rows = grouped[0] if groups else []
    purged["included"] = with_purged
    if len(rows) > GROUPS_MAX:
        raise SearchError("group_by", f"more than {GROUPS_MAX:,} groups: group by less, or filter", _EXAMPLE)
    items = [_group(groups, row) for row in rows]
    asked = {"q": render(search), "group_by": ",".join(groups), "format": parameters.format.value}
    await access.shown(item_count=len(items), filter=asked)
    if parameters.format is Format.CSV:
        said = f"{'included' if purged['included'] else 'not included'}; cost_usd={purged['cost_usd']}"
        text = _csv(groups, items if groups else [_group((), whole)])
        return Response(text, media_type="text/csv; charset=utf-8", headers={"X-Purged-Spend": said})
    report = {"group_by": list(groups), "items": items, "total": whole, "purged": purged}
    return answer(SpendReport.model_validate(report))


def _group(groups: tuple[str, ...], row: Row) -> dict[str, Any]:
    return {**row, "group": {name: row[f"g{index}"] for index, name in enumerate(groups)}}


def _csv(groups: tuple[str, ...], items: list[dict[str, Any]]) -> str:
    """Return one line a group under a line of names; nothing where a value is null."""
    out = io.StringIO()
    figures = [*Spent.model_fields, *Spent.model_computed_fields]
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*groups, *figures])
    for item in items:
        shown = SpendGroup.model_validate(item).model_dump()
        writer.writerow([_cell(shown["group"][name]) for name in groups] + [shown[name] for name in figures])
    return out.getvalue()


def _cell(value: str | None) -> str:
    """Return a value as a spreadsheet takes it for text: what could start a formula begins with an apostrophe."""
    text = value or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
