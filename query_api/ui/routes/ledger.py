"""The ledger: what is signed, how far, and what was purged, held, erased or exported."""

import asyncio
from base64 import b64encode
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from procurator import control_entries as kinds
from procurator.access import Permission
from procurator.clock import from_us, to_rfc3339
from procurator.control_entries import ControlEntry
from procurator.query_api.auth import Access, requires
from procurator.query_api.routes.common import InService
from procurator.query_api.services import Services
from procurator.query_api.ui.page import PageRoute, Viewer
from procurator.query_api.ui.views.ledger import Said, said

router = APIRouter(route_class=PageRoute)

Reader = Annotated[Access, Depends(requires(Permission.LEDGER_VERIFY, "ledger.proof"))]

#: A signer that is well signs every 5 s when there is news, and every 60 s anyway.
_LATE_AFTER = timedelta(seconds=150)
_SHOWN = 50
#: What concerns sessions of every organisation: for the operator's eyes.
_KINDS = (kinds.PURGE, kinds.LEGAL_HOLD, kinds.ERASURE, kinds.EXPORT_RECORDED, kinds.KEY_ROTATION)


@router.get("/ledger")
async def ledger_page(request: Request, access: Reader, services: InService) -> Response:
    """The newest checkpoint, the logs under it, and what the control log says."""
    (note, checkpoint, heads), [epoch] = await asyncio.gather(
        services.proofs.heads(), services.proofs.said(kinds.EPOCH, 1)
    )
    viewer = Viewer(request, access.principal)
    history = await _history(services) if access.principal.org_id is None else None
    await access.shown(details={"page": "ledger"})
    return viewer.page(
        "ledger.html",
        active="ledger",
        note=note.decode(),
        checkpoint=checkpoint,
        root=b64encode(checkpoint.root).decode(),
        signed_at=to_rfc3339(epoch["occurred_at"]),
        is_late=viewer.clock.now - from_us(epoch["occurred_at"]) > _LATE_AFTER,
        heads=sorted(heads.values(), key=lambda head: (head.topic, head.log_id)),
        entries=sum(head.size for head in heads.values()),
        history=history,
    )


async def _history(services: Services) -> list[Said]:
    found: list[list[ControlEntry]] = await asyncio.gather(*(services.proofs.said(kind, _SHOWN) for kind in _KINDS))
    entries = sorted((entry for some in found for entry in some), key=lambda entry: -entry["occurred_at"])
    return [said(entry) for entry in entries[:_SHOWN]]
