"""What each component needs of Kafka, and no more: the source of the ACLs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from procurator import topics
from procurator.topics import TOPICS, Topic


@dataclass(frozen=True)
class Needs:
    """What one user may do. Groups and transactional ids are prefixes; an empty tuple is nothing."""

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    transactional_ids: tuple[str, ...] = ()
    creates: bool = False


_LEDGERED = tuple(topic for topic in TOPICS if topic.ledgered)
_WEBHOOKS = (topics.WEBHOOK_ENDPOINTS, topics.WEBHOOK_STATE, topics.WEBHOOK_DEAD_LETTERS)
_BUDGETS = (topics.BUDGET_DEFINITIONS, topics.BUDGET_SPEND, topics.BUDGET_STATUS)

#: User → needs. An SDK reads the events topic's metadata, which writing includes, and the signals.
NEEDS = {
    "sdk": Needs((topics.CONTROL,), (topics.SESSION_EVENTS, topics.SESSION_DELTAS), ("procurator-sdk",)),
    "sink": Needs(
        (*_LEDGERED, topics.SESSION_STATE, topics.PRICES, *_BUDGETS),
        (topics.DEAD_LETTER,),
        ("procurator",),
    ),
    "stream": Needs(
        (topics.SESSION_EVENTS, topics.SESSION_STATE, topics.CONTROL, topics.PRICES, *_BUDGETS),
        (topics.SESSION_EVENTS, topics.SESSION_STATE, topics.CONTROL, topics.BUDGET_SPEND, topics.BUDGET_STATUS),
        ("procurator",),
        ("procurator",),
    ),
    "api": Needs(
        TOPICS,
        (
            *(topics.SESSION_EVENTS, topics.AUDIT, topics.CONTROL),
            *(topics.BUDGET_DEFINITIONS, topics.API_KEYS, topics.WEBHOOK_ENDPOINTS),
        ),
        ("procurator",),
    ),
    "sign": Needs(
        TOPICS,
        (topics.LEDGER_CONTROL, topics.CHECKPOINTS),
        ("procurator",),
        ("procurator",),
    ),
    "forward": Needs(
        (topics.SESSION_EVENTS, topics.AUDIT, topics.CHECKPOINTS, *_WEBHOOKS),
        (topics.WEBHOOK_STATE, topics.WEBHOOK_DEAD_LETTERS),
        ("procurator",),
        ("procurator",),
    ),
    # Beside the signer and as nobody else: the signer could otherwise remove states. It reads prices to verify calls.
    "retention": Needs((topics.PRICES,), (topics.SESSION_STATE,), ("procurator",)),
    "setup": Needs(TOPICS, TOPICS, ("procurator",), creates=True),
}


@dataclass(frozen=True)
class Grant:
    """One ACL that allows: ``resource`` is topic, group, transactional-id or cluster, in the words of kafka-acls.sh."""

    user: str
    operation: str
    resource: str
    name: str
    prefixed: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return it as arguments of ``kafka-acls.sh``."""
        which = ("--cluster",) if self.resource == "cluster" else (f"--{self.resource}", self.name)
        pattern = ("--resource-pattern-type", "prefixed") if self.prefixed else ()
        return ("--add", "--allow-principal", f"User:{self.user}", "--operation", self.operation, *which, *pattern)


def grants(needs: Mapping[str, Needs] = NEEDS) -> Iterator[Grant]:
    """Yield what has to be granted. Whoever may read or write a topic may describe it."""
    for user, need in needs.items():
        for operation, found in (("Read", need.reads), ("Write", need.writes)):
            for topic in found:
                yield Grant(user, operation, "topic", topic.name)
        for prefix in need.groups:
            yield Grant(user, "Read", "group", prefix, prefixed=True)
        for prefix in need.transactional_ids:
            yield Grant(user, "Write", "transactional-id", prefix, prefixed=True)
        if need.creates:
            yield Grant(user, "Create", "cluster", "kafka-cluster")
            for topic in TOPICS:
                yield Grant(user, "DescribeConfigs", "topic", topic.name)
