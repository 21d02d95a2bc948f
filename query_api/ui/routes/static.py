"""Style sheets, modules and icons. Their address holds a digest of all of them, so a browser asks once."""

from fastapi import APIRouter, Request, Response

from procurator.query_api.problems import not_found
from procurator.query_api.ui.assets import Assets

router = APIRouter()

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Cross-Origin-Resource-Policy": "same-origin"}


@router.get("/static/{digest}/{name}")
async def static(request: Request, digest: str, name: str) -> Response:
    """One file; only under the digest of what this process has."""
    assets: Assets = request.app.state.assets
    content = assets.files.get(name) if digest == assets.digest else None
    if content is None:
        raise not_found(f"there is no file {name} of this version: load the page again")
    return Response(content, headers=_FOR_EVER, media_type=assets.media_type(name))


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """The icon, for browsers that ask for it here."""
    assets: Assets = request.app.state.assets
    return Response(assets.files["icon.svg"], media_type=assets.media_type("icon.svg"))
