"""The start page: what this is, and the way to the API's description. No script, nothing from elsewhere."""

from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/")
async def index(request: Request) -> HTMLResponse:
    """The operations of the API, from the same source as /openapi.json."""
    document = request.app.openapi()
    rows = "".join(
        f"<dt><code>{escape(method.upper())} {escape(path)}</code></dt><dd>{escape(operation['summary'])}</dd>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(request.app.title)}</title><h1>{escape(request.app.title)}</h1>"
        f"<p>{escape(request.app.description)}</p><dl>{rows}</dl>"
        '<p>The whole description: <a href="/openapi.json">openapi.json</a>.</p></html>'
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})
