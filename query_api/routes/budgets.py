"""Budgets: define, change, delete, read with status and history."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Response

from procurator.access import Permission, Principal, Scope
from procurator.budgets import Budget, BudgetError, parse_budget
from procurator.budgets.definition import TEAM, revised
from procurator.clock import now_us
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.budgets import BudgetBody, BudgetDetail, BudgetModel, budget_json
from procurator.query_api.models.common import Page
from procurator.query_api.problems import FieldProblem, forbidden, invalid, not_found
from procurator.query_api.queries.budgets import BudgetHistory
from procurator.query_api.routes.common import NOT_FOUND, PROBLEMS, InService, Nothing, answer, page_of
from procurator.query_api.services import Services

router = APIRouter(prefix="/v1", tags=["budgets"], responses=PROBLEMS)

Reader = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "budgets.read"))]
Writer = Annotated[Access, Depends(requires(Permission.BUDGETS_WRITE, "budgets.write"))]


@router.get("/budgets", response_model=Page[BudgetModel], summary="List budgets")
async def list_budgets(access: Reader, services: InService, _: Nothing) -> Response:
    """Every budget that the caller may see, by name, each with its status in the current period."""
    visible = [budget for budget in services.budgets.budgets.values() if may_see(access.principal, budget)]
    visible.sort(key=lambda budget: (budget.org_id, budget.name, budget.budget_id))
    await access.shown(item_count=len(visible))
    items = [budget_json(budget, services.budgets.status(budget.budget_id)) for budget in visible]
    return answer(Page[BudgetModel].model_validate(page_of(items, None)))


@router.post("/budgets", response_model=BudgetModel, status_code=201, summary="Define a budget")
async def define_budget(access: Writer, services: InService, body: BudgetBody) -> Response:
    """Define a budget. It counts what is spent from now on, and holds for the sessions that run."""
    principal = access.principal
    document = body.model_dump(exclude_unset=True)
    org_id = document.pop("org_id", principal.org_id)
    if not isinstance(org_id, str) or not org_id:
        raise invalid([FieldProblem(field="org_id", message='is needed from the operator; for example "acme"')])
    if principal.org_id not in (None, org_id):
        raise forbidden(f"budgets of organisation {org_id} are not yours to define")
    try:
        budget = parse_budget(
            document,
            budget_id=str(uuid4()),
            org_id=org_id,
            version=1,
            updated_by=principal.principal_id,
            now_us=now_us(),
        )
    except BudgetError as error:
        raise invalid([FieldProblem(field=error.field, message=error.problem)]) from error
    _require_writable(principal, budget)
    await _recorded(access, budget)
    await services.budgets.put(budget)
    return _shown(services, budget, HTTPStatus.CREATED)


@router.get("/budgets/{budget_id}", response_model=BudgetDetail, summary="Read a budget", responses=NOT_FOUND)
async def read_budget(access: Reader, services: InService, budget_id: UUID, _: Nothing) -> Response:
    """One budget: its definition, its status in the current period, and the history of its statuses."""
    budget = find(services, access.principal, budget_id)
    rows = await services.store.rows(BudgetHistory(scope=Scope.of_organisation(budget.org_id), budget_id=budget_id))
    await access.shown(item_count=len(rows))
    shown = budget_json(budget, services.budgets.status(budget.budget_id))
    return answer(BudgetDetail.model_validate({**shown, "history": rows}))


@router.put("/budgets/{budget_id}", response_model=BudgetModel, summary="Change a budget", responses=NOT_FOUND)
async def change_budget(access: Writer, services: InService, budget_id: UUID, body: BudgetBody) -> Response:
    """Replace a definition. It applies to what is running; what is counted (scope, period, time zone) cannot change."""
    async with services.budgets.changing:
        budget = find(services, access.principal, budget_id)
        _require_writable(access.principal, budget)
        document: dict[str, Any] = body.model_dump(exclude_unset=True)
        if document.pop("org_id", budget.org_id) != budget.org_id:
            raise invalid([FieldProblem(field="org_id", message=f"is {budget.org_id!r} for good")])
        try:
            changed = revised(budget, document, updated_by=access.principal.principal_id, now_us=now_us())
        except BudgetError as error:
            raise invalid([FieldProblem(field=error.field, message=error.problem)]) from error
        await _recorded(access, changed)
        await services.budgets.put(changed)
    return _shown(services, changed, HTTPStatus.OK)


@router.delete("/budgets/{budget_id}", status_code=204, summary="Delete a budget", responses=NOT_FOUND)
async def delete_budget(access: Writer, services: InService, budget_id: UUID, _: Nothing) -> Response:
    """Delete a budget for good; its history stays in ClickHouse."""
    async with services.budgets.changing:
        budget = find(services, access.principal, budget_id)
        _require_writable(access.principal, budget)
        await access.shown(details={"change": "delete", "version": budget.version})
        await services.budgets.delete(budget.budget_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def find(services: Services, principal: Principal, budget_id: UUID) -> Budget:
    """Return a budget that the caller may see. Raises the problem 404."""
    budget = services.budgets.budgets.get(str(budget_id))
    if budget is None or not may_see(principal, budget):
        raise not_found(f"there is no budget {budget_id}")
    return budget


def may_see(principal: Principal, budget: Budget) -> bool:
    """Tell whether a budget lies in the caller's scope: of some teams alone, their budgets are all there is."""
    scope = principal.scope
    if scope.org_id not in (None, budget.org_id):
        return False
    return scope.owner_team_ids is None or (budget.scope == TEAM and budget.scope_id in scope.owner_team_ids)


def _require_writable(principal: Principal, budget: Budget) -> None:
    if not may_see(principal, budget):
        raise forbidden(f"a budget of {budget.scope} {budget.scope_id} lies outside your scope")


async def _recorded(access: Access, budget: Budget) -> None:
    """Record the definition, whole, before it applies."""
    definition = budget_json(budget, None)
    await access.shown(resource=budget.budget_id, item_count=1, details={"change": "put", "definition": definition})


def _shown(services: Services, budget: Budget, status: HTTPStatus) -> Response:
    shown = BudgetModel.model_validate(budget_json(budget, services.budgets.status(budget.budget_id)))
    return Response(shown.model_dump_json(), status, media_type="application/json")
