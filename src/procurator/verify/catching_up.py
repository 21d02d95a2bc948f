"""IO: waiting for a sink that is behind the signer, so that what is only late is not taken for cut off."""

from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.checkpoint import CheckpointError
from procurator.control_entries import EPOCH, heads_of, parse
from procurator.errors import Rejected
from procurator.events import NAMESPACE
from procurator.leaf import LeafError
from procurator.ledger_name import control_log_of
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed

#: As long as the tables grow they are waited for; when they have not for this long, they are judged.
STALLED_S = 10.0
_POLL_S = 0.5


def await_tables(
    source: LedgerSource, notes: Sequence[bytes], tables: Iterable[str], wait: Callable[[float], bool]
) -> None:
    """Return once the tables have what the last of ``notes`` signs, or have stopped growing.

    ``wait`` sleeps and returns True on a stop. Whatever is wrong with a note or an entry is for the verifier to say.
    """
    try:
        checkpoint = claimed(notes[-1])
        control_log = control_log_of(checkpoint.origin)
    except (CheckpointError, LeafError):
        return
    tables = list(tables)
    grown_at_s, before = monotonic(), -1
    while True:
        sizes = {control_log: source.control_size(control_log), **source.sizes(tables)}
        wanted = {control_log: checkpoint.size, **_signed_sizes(source, control_log, checkpoint.size)}
        if all(sizes.get(log_id, 0) >= size for log_id, size in wanted.items()):
            return
        if sum(sizes.values()) != before:
            grown_at_s, before = monotonic(), sum(sizes.values())
        if monotonic() - grown_at_s > STALLED_S or wait(_POLL_S):
            return


def _signed_sizes(source: LedgerSource, control_log: str, size: int) -> dict[str, int]:
    own = load_schema("ledger_control")
    rows = source.control_entries(control_log, EPOCH.removeprefix(NAMESPACE), size, 1)
    try:
        return {
            head.log_id: head.size
            for row in rows
            for head in heads_of(parse(Decoder(own, lambda _id: own.text), row.value))
        }
    except Rejected:
        return {}
