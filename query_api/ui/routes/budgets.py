"""Budgets: how they stand, one with its history, define, change, delete. All through the API's own routes."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from procurator.access import Permission, Principal
from procurator.budgets.definition import ACTIONS, SCOPES, UNITS
from procurator.budgets.periods import PERIODS
from procurator.errors import Unavailable
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.budgets import BudgetBody, BudgetDetail, BudgetModel, budget_json
from procurator.query_api.problems import Problem
from procurator.query_api.routes import budgets as api
from procurator.query_api.routes.common import InService, NoParameters
from procurator.query_api.services import Services
from procurator.query_api.ui.forms import wrong_fields
from procurator.query_api.ui.in_process import answered
from procurator.query_api.ui.page import PageRoute, Viewer
from procurator.query_api.ui.views.charts import spend_line
from procurator.query_api.ui.views.header import BudgetShare, share_of

router = APIRouter(prefix="/budgets", route_class=PageRoute)

Reader = Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "budgets.read"))]
Writer = Annotated[Access, Depends(requires(Permission.BUDGETS_WRITE, "budgets.write"))]
Editor = Annotated[Access, Depends(requires(Permission.BUDGETS_WRITE, "budgets.read"))]

_CHOICES = {"scopes": SCOPES, "units": UNITS, "periods": PERIODS, "threshold_actions": ACTIONS}
_THRESHOLDS_SHOWN = 4
_TEXTS = ("name", "scope", "scope_id", "unit", "limit", "period", "time_zone", "org_id")


@router.get("")
async def list_page(request: Request, access: Reader, services: InService) -> Response:
    """Every budget, the fullest first."""
    items = answered(await api.list_budgets(access, services, NoParameters()))["items"]
    shares = _sorted([BudgetModel.model_validate(item) for item in items])
    may_write = access.principal.may(Permission.BUDGETS_WRITE)
    return Viewer(request, access.principal).page("budgets.html", active="budgets", shares=shares, may_write=may_write)


@router.get("/new")
async def new_page(request: Request, access: Editor) -> Response:
    """An empty definition."""
    await access.shown(details={"page": "new"})
    return _form(request, access, {"thresholds": [{"fraction": "0.8", "action": "NOTIFY"}], "active": True}, None)


@router.post("")
async def define(request: Request, access: Writer, services: InService) -> Response:
    """Define a budget."""
    given = _document(await request.form(), is_new=True)
    try:
        made = answered(await api.define_budget(access, services, BudgetBody(**given)))
    except Problem as problem:
        return _form(request, access, given, None, wrong_fields(problem))
    return RedirectResponse(f"/budgets/{made['budget_id']}", HTTPStatus.SEE_OTHER)


@router.get("/{budget_id}")
async def budget_page(request: Request, access: Reader, services: InService, budget_id: UUID) -> Response:
    """One budget: how it stands, its history, its definition."""
    answer = answered(await api.read_budget(access, services, budget_id, NoParameters()))
    budget = BudgetDetail.model_validate(answer)
    return Viewer(request, access.principal).page(
        "budget.html",
        active="budgets",
        share=BudgetShare(budget, share_of(budget)),
        budget=budget,
        line=spend_line(budget.history),
        may_write=access.principal.may(Permission.BUDGETS_WRITE),
    )


@router.get("/{budget_id}/edit")
async def edit_page(request: Request, access: Editor, services: InService, budget_id: UUID) -> Response:
    """A definition to change."""
    budget = answered(await api.read_budget(access, services, budget_id, NoParameters()))
    return _form(request, access, budget, budget_id)


@router.post("/{budget_id}/edit")
async def change(request: Request, access: Writer, services: InService, budget_id: UUID) -> Response:
    """Change a definition."""
    before = budget_json(api.find(services, access.principal, budget_id), None)
    given = _document(await request.form(), is_new=False)
    fixed = {name: before[name] for name in ("scope", "scope_id", "unit", "period", "time_zone")}
    try:
        await api.change_budget(access, services, budget_id, BudgetBody(**{**fixed, **given}))
    except Problem as problem:
        return _form(request, access, {**before, **given}, budget_id, wrong_fields(problem))
    return RedirectResponse(f"/budgets/{budget_id}", HTTPStatus.SEE_OTHER)


@router.post("/{budget_id}/delete")
async def delete(access: Writer, services: InService, budget_id: UUID) -> Response:
    """Delete a budget for good."""
    await api.delete_budget(access, services, budget_id, NoParameters())
    return RedirectResponse("/budgets", HTTPStatus.SEE_OTHER)


def shares_of(services: Services, principal: Principal) -> list[BudgetShare]:
    """Return the active budgets that ``principal`` may see, the fullest first; none while they are being read."""
    try:
        budgets = services.budgets.budgets
    except Unavailable:
        return []
    seen = [budget for budget in budgets.values() if budget.active and api.may_see(principal, budget)]
    return _sorted(
        [BudgetModel.model_validate(budget_json(one, services.budgets.status(one.budget_id))) for one in seen]
    )


def _sorted(budgets: list[BudgetModel]) -> list[BudgetShare]:
    shares = [BudgetShare(budget, share_of(budget)) for budget in budgets]
    return sorted(shares, key=lambda share: (not share.budget.active, -share.fraction, share.budget.name))


def _document(form: FormData, *, is_new: bool) -> dict[str, Any]:
    """Return the definition in a form: fields that were left empty are left out."""
    names = _TEXTS if is_new else ("name", "limit")
    texts = {name: str(form.get(name, "")).strip() for name in names}
    fractions, actions = form.getlist("fraction"), form.getlist("action")
    thresholds = [
        {"fraction": str(fraction).strip(), "action": str(action)}
        for fraction, action in zip(fractions, actions, strict=False)
        if str(fraction).strip()
    ]
    switches = {"dry_run": "dry_run" in form, "active": "active" in form}
    return {**{name: text for name, text in texts.items() if text}, "thresholds": thresholds, **switches}


def _form(
    request: Request,
    access: Access,
    values: dict[str, Any],
    budget_id: UUID | None,
    errors: dict[str, str] | None = None,
) -> Response:
    thresholds = [*values.get("thresholds", ())]
    thresholds += [{"fraction": "", "action": "NOTIFY"}] * max(1, _THRESHOLDS_SHOWN - len(thresholds))
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return Viewer(request, access.principal).page(
        "budget_form.html",
        status,
        active="budgets",
        values=values,
        thresholds=thresholds,
        budget_id=budget_id,
        errors=errors or {},
        **_CHOICES,
    )
