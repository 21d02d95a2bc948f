"""The topics: what each carries, how it is keyed, how long Kafka keeps it. Pure data (the design's table)."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000
#: A turn of several megabytes must fit; brokers, producers and consumers are all set to this.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Topic:
    """One topic. ``schema`` is the stem of its ``.avsc``; ``retention_ms`` -1 keeps records for ever."""

    name: str
    schema: str
    cleanup_policy: str
    retention_ms: int
    #: Every record becomes a ledger entry and a leaf; Kafka stamps it with the broker's time.
    ledgered: bool = False
    #: None takes the number chosen at setup.
    partitions: int | None = None

    @property
    def config(self) -> dict[str, str]:
        """Return the topic's configuration as Kafka names it."""
        config = {
            "cleanup.policy": self.cleanup_policy,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
        }
        if self.ledgered:
            config["message.timestamp.type"] = "LogAppendTime"
        return config


SESSION_EVENTS = Topic("procurator.session.events.v1", "session_event", "delete", 14 * DAY_MS, ledgered=True)
AUDIT = Topic("procurator.audit.v1", "audit_event", "delete", 14 * DAY_MS, ledgered=True)
SESSION_DELTAS = Topic("procurator.session.deltas.v1", "turn_delta", "delete", DAY_MS // 24)
SESSION_STATE = Topic("procurator.session.state.v1", "session_state", "compact", -1)
CONTROL = Topic("procurator.session.control.v1", "signal", "delete", 14 * DAY_MS)
PRICES = Topic("procurator.prices.v1", "price", "compact", -1, partitions=1)
BUDGET_DEFINITIONS = Topic("procurator.budget.definitions.v1", "budget_definition", "compact", -1, partitions=1)
BUDGET_SPEND = Topic("procurator.budget.spend.v1", "budget_spend", "compact", -1)
BUDGET_STATUS = Topic("procurator.budget.status.v1", "budget_status", "compact", -1)
API_KEYS = Topic("procurator.api.keys.v1", "api_key", "compact", -1, partitions=1)
WEBHOOK_ENDPOINTS = Topic("procurator.webhooks.endpoints.v1", "webhook_endpoint", "compact", -1, partitions=1)
WEBHOOK_STATE = Topic("procurator.webhooks.state.v1", "webhook_state", "compact", -1, partitions=1)
WEBHOOK_DEAD_LETTERS = Topic("procurator.webhooks.dead-letter.v1", "webhook_dead_letter", "compact", -1, partitions=1)
LEDGER_CONTROL = Topic("procurator.ledger.control.v1", "ledger_control", "delete", -1, ledgered=True, partitions=1)
CHECKPOINTS = Topic("procurator.ledger.checkpoints.v1", "checkpoint", "compact,delete", 90 * DAY_MS)
DEAD_LETTER = Topic("procurator.dead-letter.v1", "dead_letter", "delete", 90 * DAY_MS)

TOPICS = (
    SESSION_EVENTS,
    AUDIT,
    SESSION_DELTAS,
    SESSION_STATE,
    CONTROL,
    PRICES,
    BUDGET_DEFINITIONS,
    BUDGET_SPEND,
    BUDGET_STATUS,
    API_KEYS,
    WEBHOOK_ENDPOINTS,
    WEBHOOK_STATE,
    WEBHOOK_DEAD_LETTERS,
    LEDGER_CONTROL,
    CHECKPOINTS,
    DEAD_LETTER,
)
