"""What a ledger is called: the origin line of its checkpoints. Pure.

``procurator.ledger/`` and the id of Kafka's control topic: a recreated topic is another ledger.
"""

from procurator.leaf import parse_log_id

ORIGIN_PREFIX = "procurator.ledger/"


def origin_of(control_log_id: str) -> str:
    """Return the origin line of the checkpoints over a control log."""
    return f"{ORIGIN_PREFIX}{parse_log_id(control_log_id)[0]}"


def control_log_of(origin: str) -> str:
    """Return the id of the control log that checkpoints of ``origin`` are about. Raises LeafError for others."""
    log_id = f"{origin.removeprefix(ORIGIN_PREFIX)}:0"
    parse_log_id(log_id)
    return log_id
