"""IO: checkpoints, proofs and seals for the API, made from the tables in threads of their own."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from procurator.access import Scope
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.checkpoint import Checkpoint, CheckpointError
from procurator.checkpoint_feed import CheckpointFeed
from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.control_entries import ControlEntry, Head, parse
from procurator.errors import Unavailable
from procurator.events import NAMESPACE
from procurator.ledger_name import control_log_of
from procurator.merkle import ProofError
from procurator.registry import Registry
from procurator.topics import CHECKPOINTS
from procurator.verify.bundle_format import Bundle, render
from procurator.verify.seal import Sealer
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

T = TypeVar("T")


class Proofs:
    """What the routes of the ledger answer from. Every method raises Unavailable while nothing is signed."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._clickhouse = ClickHouse.of(settings)
        self._feed = CheckpointFeed(settings.kafka_bootstrap_servers, registry)
        self._source = LedgerSource(self._clickhouse)
        self._sealer = Sealer(self._source)

    def close(self) -> None:
        """Close the connections."""
        self._feed.close()
        self._clickhouse.close()

    async def checkpoint(self) -> bytes:
        """Return the newest note that the tables can prove."""
        return await _aside(lambda: self._sealer.newest(self._feed.notes())[0])

    async def heads(self) -> tuple[bytes, Checkpoint, dict[str, Head]]:
        """Return the newest note, its checkpoint, and the heads by log of the last epoch under it."""
        return await _aside(lambda: self._sealer.signed(self._feed.notes()))

    async def said(self, kind: str, newest: int) -> list[ControlEntry]:
        """Return the last entries of a kind (full record name) that a checkpoint covers, newest first."""

        def read() -> list[ControlEntry]:
            checkpoint = self._sealer.signed(self._feed.notes())[1]
            log_id = control_log_of(checkpoint.origin)
            rows = self._source.control_entries(log_id, kind.removeprefix(NAMESPACE), checkpoint.size, newest)
            schema = load_schema("ledger_control")
            decoder = Decoder(schema, lambda _id: schema.text)
            return [parse(decoder, row.value) for row in rows]

        return await _aside(read)

    async def consistency(self, size1: int, size2: int) -> tuple[str, list[bytes]]:
        """Return the ledger's origin and the proof. Raises ProofError for sizes that no proof connects."""

        def prove() -> tuple[str, list[bytes]]:
            newest = claimed(self._feed.notes()[-1])
            if max(size1, size2) > newest.size:
                raise ProofError(f"the newest checkpoint has size {newest.size}: nothing is signed beyond it")
            return newest.origin, self._sealer.consistency(newest.origin, size1, size2)

        return await _aside(prove)

    def newest_note(self) -> str | None:
        """Return the newest note that the tables can prove, None while there is none. Blocks."""
        try:
            return self._sealer.newest(self._feed.notes())[0].decode()
        except (Unavailable, CheckpointError):
            return None

    async def bundle(self, session_id: UUID, scope: Scope) -> Bundle:
        """Return a session's bundle. Raises UserError when there is none in scope."""
        return await _aside(lambda: self._sealer.seal(session_id, self._feed.notes(), scope))

    async def seal(self, session_id: UUID, scope: Scope) -> bytes:
        """Return a session's bundle as the bytes of its file. Raises UserError when there is none in scope."""
        bundle = await self.bundle(session_id, scope)
        return await _aside(lambda: render(bundle))

    async def inclusion(self, log_id: str, leaf_index: int) -> tuple[bytes, Checkpoint, Head, list[bytes]]:
        """Return note, checkpoint, the log's head in its last epoch, and the proof of a leaf of session events.

        Raises Unavailable while the leaf is not signed.
        """
        return await _aside(lambda: self._sealer.inclusion("events", log_id, leaf_index, self._feed.notes()))


async def _aside(work: Callable[[], T]) -> T:
    try:
        return await run_in_threadpool(work)
    except CheckpointError as error:  # whoever may write to the topic wrote something else
        raise Unavailable(f"the newest record of {CHECKPOINTS.name} is no checkpoint: {error}") from error
