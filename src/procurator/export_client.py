"""IO: a bulk export from the API into a folder here: begun, followed, downloaded, each file checked."""

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from procurator.api_client import call
from procurator.config import Settings
from procurator.errors import Unavailable, UserError

_LOOK_EVERY_S = 0.5
_TIMEOUT_S = 60.0
_PIECE_BYTES = 1 << 20

#: Told how far the export is, now and then.
Progress = Callable[[dict[str, Any]], None]


def bulk_export(settings: Settings, filter: str, file_format: str, folder: Path, progress: Progress) -> dict[str, Any]:
    """Export what a filter finds into ``folder``, which is new or empty; return the finished export.

    A file that is not what the export says is never left there. Ctrl-C cancels the export. Raises UserError and
    Unavailable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")
    export: dict[str, Any] = call(settings, "POST", "/v1/exports", {"filter": filter, "format": file_format})
    path = f"/v1/exports/{export['export_id']}"
    try:
        while export["status"] in ("QUEUED", "RUNNING"):
            progress(export)
            time.sleep(_LOOK_EVERY_S)
            export = call(settings, "GET", path)
    except KeyboardInterrupt:
        call(settings, "DELETE", path)
        raise
    progress(export)
    if export["status"] != "COMPLETED":
        raise UserError(f"the export ended {export['status']}: {export['message']}")
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    with httpx.Client(base_url=settings.api_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as client:
        for file in export["files"]:
            _download(client, f"{path}/files/{file['name']}", folder / Path(file["name"]).name, file["sha256"])
    return export


def _download(client: httpx.Client, path: str, target: Path, digest: str) -> None:
    partial, seen = target.with_name(f"{target.name}.part"), sha256()
    try:
        with client.stream("GET", path) as response, partial.open("wb") as file:
            if response.is_error:
                raise UserError(f"the API answered {response.status_code} to {path}")
            for piece in response.iter_bytes(_PIECE_BYTES):
                file.write(piece)
                seen.update(piece)
    except httpx.HTTPError as error:
        raise Unavailable(f"the API broke off {path}: {error}") from error
    if seen.hexdigest() != digest:
        partial.unlink()
        raise UserError(f"{target.name} did not arrive as the export says it is: try again")
    partial.replace(target)
