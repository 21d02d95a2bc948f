"""The header ``X-Purpose``: why somebody looks, in their own words, for the audit. Pure."""

from fastapi import Request

from procurator.query_api.problems import FieldProblem, invalid

HEADER = "X-Purpose"
CHARS_MAX = 200


def purpose_of(request: Request) -> str | None:
    """Return the stated purpose, None without one. Raises the problem 422 when it is too long or not plain text."""
    given = request.headers.get(HEADER)
    if not given:
        return None
    try:
        text = given.encode("latin-1").decode("utf-8")  # headers are bytes; HTTP libraries send them as UTF-8
    except UnicodeDecodeError:
        text = given
    if len(text) > CHARS_MAX or not text.isprintable():
        raise invalid([FieldProblem(field=HEADER, message=f"at most {CHARS_MAX} printable characters: why you look")])
    return text
