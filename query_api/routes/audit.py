"""The audit, for whoever answers for the organisation. That they read it is in it as well."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, Field

from procurator.access import Permission
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.audit import AuditEntry, Outcome
from procurator.query_api.models.common import Page
from procurator.query_api.problems import FieldProblem, invalid
from procurator.query_api.queries.audit import ListAudit
from procurator.query_api.routes.common import PROBLEMS, InService, PageParameters, answer, page_of, read_page

router = APIRouter(prefix="/v1", tags=["audit"], responses=PROBLEMS)

Reader = Annotated[Access, Depends(requires(Permission.ADMIN, "audit.read"))]

_Text = Annotated[str | None, Field(max_length=500)]
#: What ClickHouse's times can hold.
_Moment = Annotated[
    AwareDatetime | None, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2262, 1, 1, tzinfo=UTC))
]


class AuditParameters(PageParameters):
    """Which audit events; all that is given must hold."""

    principal: _Text = Field(None, description="By who acted.", examples=["key:admin"])
    action: _Text = Field(None, description="By what was done.", examples=["sessions.read"])
    outcome: Outcome | None = Field(None, description="By whether it was allowed.")
    resource: _Text = Field(None, description="By what it was done to.")
    since: _Moment = Field(
        None, alias="from", description="From this time on, by the broker's clock.", examples=["2026-11-22T00:00:00Z"]
    )
    until: _Moment = Field(None, alias="to", description="Before this time, by the broker's clock.")

    def upside_down(self) -> bool:
        """Tell whether the span ends before it begins."""
        return self.since is not None and self.until is not None and self.until < self.since


@router.get("/audit", response_model=Page[AuditEntry], summary="List audit events")
async def list_audit(access: Reader, services: InService, which: Annotated[AuditParameters, Query()]) -> Response:
    """Who was shown, exported or changed what, and who was refused; newest first.

    Of an organisation's principals to its own administrators; of everybody, unknown callers included, to the operator.
    An event is listed once the sink has ledgered it, a fraction of a second after the answer that it is about.
    """
    if which.upside_down():
        raise invalid(
            [
                FieldProblem(
                    field="to",
                    message="lies before `from`; for example from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z",
                )
            ]
        )
    query = ListAudit(
        scope=access.scope,
        principal=which.principal,
        action=which.action,
        outcome=which.outcome,
        resource=which.resource,
        since=which.since,
        until=which.until,
    )
    rows, next_cursor = await read_page(services, query, which)
    await access.shown(item_count=len(rows))
    return answer(Page[AuditEntry].model_validate(page_of(rows, next_cursor)))
