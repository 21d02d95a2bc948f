"""The ledger's proofs: what an outsider needs to check that nothing was changed."""

from base64 import b64encode
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from procurator.access import Permission
from procurator.errors import UserError
from procurator.merkle import SIZE_MAX, ProofError
from procurator.query_api.auth import Access, requires
from procurator.query_api.models.ledger import Consistency, Inclusion
from procurator.query_api.problems import FieldProblem, invalid, not_found
from procurator.query_api.queries.places import EventPlace
from procurator.query_api.queries.sessions import SessionExists
from procurator.query_api.routes.common import NOT_FOUND, PROBLEMS, InService, Nothing, answer

router = APIRouter(prefix="/v1", tags=["ledger"], responses=PROBLEMS)

Verify = Annotated[Access, Depends(requires(Permission.LEDGER_VERIFY, "ledger.proof"))]
Export = Annotated[Access, Depends(requires(Permission.SESSIONS_EXPORT, "sessions.export"))]


class Sizes(BaseModel):
    """Two sizes of the control log."""

    model_config = ConfigDict(extra="forbid")

    from_size: int = Field(alias="from", ge=1, le=SIZE_MAX, description="Size in the older checkpoint.")
    to_size: int = Field(alias="to", ge=1, le=SIZE_MAX, description="Size in the newer checkpoint.")


@router.get("/ledger/checkpoint", response_class=Response, summary="Read the newest checkpoint")
async def checkpoint(access: Verify, services: InService, _: Nothing) -> Response:
    """The newest signed checkpoint that proofs can be had for: a C2SP signed note, as it was signed."""
    note = await services.proofs.checkpoint()
    await access.shown(resource="checkpoint")
    return Response(note, media_type="text/plain; charset=utf-8")


@router.get(
    "/ledger/proof/{event_id}",
    response_model=Inclusion,
    summary="Prove an event",
    responses=NOT_FOUND,
)
async def proof(access: Verify, services: InService, event_id: UUID, _: Nothing) -> Response:
    """The inclusion proof of one event under its log's last signed head."""
    rows = await services.store.rows(EventPlace(scope=access.scope, event_id=event_id))
    if not rows:
        raise not_found(f"event {event_id} is not in the ledger")
    place = rows[0]
    note, _checkpoint, head, nodes = await services.proofs.inclusion(place["log_id"], place["leaf_index"])
    await access.shown()
    return answer(
        Inclusion(
            log_id=place["log_id"],
            leaf_index=place["leaf_index"],
            offset=place["offset"],
            leaf_hash=b64encode(bytes.fromhex(place["leaf_hash"])).decode(),
            size=head.size,
            root=b64encode(head.root).decode(),
            proof=[b64encode(node).decode() for node in nodes],
            checkpoint=note.decode(),
        )
    )


@router.get("/ledger/consistency", response_model=Consistency, summary="Prove that one checkpoint continues another")
async def consistency(access: Verify, services: InService, sizes: Annotated[Sizes, Query()]) -> Response:
    """The consistency proof between two sizes of the control log, which are those of checkpoints."""
    try:
        origin, nodes = await services.proofs.consistency(sizes.from_size, sizes.to_size)
    except ProofError as error:
        raise invalid([FieldProblem(field="from", message=str(error))]) from error
    await access.shown(resource="consistency")
    shown = [b64encode(node).decode() for node in nodes]
    return answer(Consistency(origin=origin, from_size=sizes.from_size, to_size=sizes.to_size, proof=shown))


@router.get("/sessions/{session_id}/seal", response_class=Response, summary="Seal a session", responses=NOT_FOUND)
async def seal(access: Export, services: InService, session_id: UUID, _: Nothing) -> Response:
    """The session's bundle: its exact events as far as they are signed, and their proof (format: docs/ledger.md)."""
    if not await services.store.rows(SessionExists(scope=access.scope, session_id=session_id)):
        raise not_found(f"session {session_id} is not in the ledger")
    try:
        data = await services.proofs.seal(session_id, access.scope)
    except UserError as error:
        raise not_found(str(error)) from error
    await access.shown(details={"format": "bundle", "bytes": len(data)})
    headers = {"Content-Disposition": f'attachment; filename="session-{session_id}.json"'}
    return Response(data, headers=headers, media_type="application/json")
