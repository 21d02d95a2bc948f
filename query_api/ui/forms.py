"""What forms have in common: lists in one field, and what is wrong with which field. Pure."""

from http import HTTPStatus

from pydantic import ValidationError

from procurator.query_api.problems import FieldProblem, Problem


def names_in(value: object) -> list[str]:
    """Return the names in a field, which commas separate."""
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def wrong_fields(error: ValidationError | Problem) -> dict[str, str]:
    """Return what to say beside which field. A problem that is not about fields is raised on."""
    if isinstance(error, ValidationError):
        found = [FieldProblem(field=str(item["loc"][0]), message=item["msg"]) for item in error.errors()]
    elif error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        found = list(error.document.errors)
    else:
        raise error
    return {problem.field: problem.message for problem in found}
