"""What is wrong with an installation, and what to do about it. IO: asks every neighbour, changes nothing.

Each check is a function that yields findings; one that meets a neighbour who does not answer ends with that as its
finding, and the rest go on.
"""

import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version

import confluent_kafka
import httpx
from confluent_kafka import Consumer, TopicPartition

from procurator.avro_schemas.codec import load_schema
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.config import Settings
from procurator.errors import Fatal, ProcuratorError, Unavailable, UserError
from procurator.kafka import TIMEOUT_S, Topics, consumer_config
from procurator.leaf import log_id
from procurator.registry import Registry
from procurator.sink.cluster import SHARDING
from procurator.sink.migrate import check_version, pending, shipped
from procurator.topics import CHECKPOINTS, TOPICS

_CLOCK_S_MAX = 1.0
_FREE_SHARE_MIN = 0.10
_LAG_MAX = 100_000
#: An idle ledger is signed once a minute.
_CHECKPOINT_AGE_S_MAX = 90.0
_SETUP = "run `procurator setup`"
#: What each user of docs/production.md needs on the tables. Of any other the components that read are expected.
RIGHTS = {
    "admin": ("SELECT", "INSERT", "ALTER", "CREATE TABLE"),
    "writer": ("SELECT", "INSERT"),
    "reader": ("SELECT",),
    "purger": ("SELECT", "ALTER DELETE", "ALTER UPDATE"),
}


class Verdict(StrEnum):
    """``UNKNOWN``: somebody did not answer, so the question stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One answer. ``remedy`` is empty when there is nothing to do."""

    check: str
    verdict: Verdict
    what: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of every check, as they come."""
    for name, check in CHECKS.items():
        try:
            yield from check(settings)
        except Unavailable as away:
            yield Finding(name, Verdict.UNKNOWN, str(away), "start it, or correct its address (docs/settings.md)")
        except UserError as error:  # Says itself what to do.
            yield Finding(name, Verdict.FAILED, str(error))
        except ProcuratorError as error:
            yield Finding(name, Verdict.FAILED, str(error), _SETUP)


def _versions(_: Settings) -> Iterator[Finding]:
    ours = f"procurator {version('procurator-ledger')}, Python {platform.python_version()}"
    yield Finding("versions", Verdict.OK, f"{ours}, librdkafka {confluent_kafka.libversion()[0]}")


def _topics(settings: Settings) -> Iterator[Finding]:
    topics = Topics(settings.kafka_bootstrap_servers)
    found = topics.describe(topic.name for topic in TOPICS)
    if missing := [topic.name for topic in TOPICS if topic.name not in found]:
        yield Finding("topics", Verdict.FAILED, f"{len(missing)} missing: {', '.join(missing)}", _SETUP)
    configs = topics.configs(found)
    for topic in TOPICS:
        wrong = [
            f"{key} is {configs[topic.name].get(key)}, not {value}"
            for key, value in topic.config.items()
            if topic.name in configs and configs[topic.name].get(key) != value
        ]
        if wrong:
            remedy = "set it with kafka-configs.sh, unless you changed it on purpose"
            yield Finding("topics", Verdict.WARNING, f"{topic.name}: {'; '.join(wrong)}", remedy)
    counts = {count for topic in TOPICS if topic.partitions is None for _, count in [found.get(topic.name, ("", 0))]}
    if not missing and len(counts) > 1:
        what = f"topics keyed by session have different numbers of partitions: {sorted(counts)}"
        yield Finding("topics", Verdict.FAILED, what, "recreate those that were not made by `procurator setup`")
    if not missing and len(counts) == 1:
        yield Finding("topics", Verdict.OK, f"{len(found)} topics, {counts.pop()} partitions each")


def _schemas(settings: Settings) -> Iterator[Finding]:
    stems = sorted({topic.schema for topic in TOPICS})
    with closing(Registry(settings.schema_registry_url)) as registry:
        missing = []
        for stem in stems:
            try:
                registry.schema_id(load_schema(stem))
            except (Fatal, UserError):
                missing.append(stem)
    if missing:
        yield Finding("schemas", Verdict.FAILED, f"not registered in this version: {', '.join(missing)}", _SETUP)
    else:
        yield Finding("schemas", Verdict.OK, f"{len(stems)} schemas registered")


def _tables(settings: Settings) -> Iterator[Finding]:
    with closing(ClickHouse.of(settings)) as clickhouse:
        server = clickhouse.version()
        check_version(server)  # Before anything is asked that an old one has never heard of.
        before_us = now_us()
        ((its_us,),) = clickhouse.rows("SELECT toUnixTimestamp64Micro(now64(6))", database="")
        after_us = now_us()
        yield Finding("clickhouse", Verdict.OK, f"ClickHouse {server}, as {settings.clickhouse_user}")
        # It was read in between, however long the answer took.
        yield _clock("clickhouse", (min(0, its_us - before_us) or max(0, its_us - after_us)) / 1_000_000)
        applied = clickhouse.rows("SELECT number, any(sha256) FROM migrations GROUP BY number")
        todo = pending(shipped(), {int(number): str(digest) for number, digest in applied})
        open_ones = [each for each in todo if not (each.needs_access_control or each.needs_no_entries)]
        if open_ones:
            names = ", ".join(f"{migration.number:04}_{migration.name}" for migration in open_ones)
            yield Finding("tables", Verdict.FAILED, f"migrations not applied: {names}", _SETUP)
        else:
            yield Finding("tables", Verdict.OK, f"{len(applied)} migrations applied")
        yield _grants(clickhouse, settings.clickhouse_user)
        yield from _clickhouse_disks(clickhouse, settings.clickhouse_user)


def _grants(clickhouse: ClickHouse, user: str) -> Finding:
    """Compare what this user may do with what its role is for: that of its name, or one that it was granted."""
    roles = {
        user,
        *(name.removeprefix("procurator_") for (name,) in clickhouse.rows("SELECT arrayJoin(enabledRoles())")),
    }
    needed = list(dict.fromkeys(right for role in RIGHTS if role in roles for right in RIGHTS[role])) or ["SELECT"]
    if lacking := missing_rights(clickhouse, needed):
        remedy = f"{_SETUP} as admin: it grants what the role is for; the user must have the role (docs/production.md)"
        return Finding("grants", Verdict.FAILED, f"{user} may not {', '.join(lacking)}", remedy)
    return Finding("grants", Verdict.OK, f"{user} may {', '.join(needed)} on the ledger's tables")


def missing_rights(clickhouse: ClickHouse, needed: Iterable[str]) -> list[str]:
    """Return those of the rights that the client's user lacks, each with its tables. Only asks; tries nothing."""
    lacking = {
        right: [table for table in SHARDING if not _may(clickhouse, f"{right} ON {clickhouse.database}.{table}")]
        for right in needed
    }
    return [f"{right} on {', '.join(tables)}" for right, tables in lacking.items() if tables]


def _may(clickhouse: ClickHouse, right: str) -> bool:
    return clickhouse.rows(f"CHECK GRANT {right}") == [[1]]


def _clickhouse_disks(clickhouse: ClickHouse, user: str) -> Iterator[Finding]:
    if not _may(clickhouse, "SELECT ON system.disks"):  # A server shows them to its administrators.
        yield Finding("disk", Verdict.OK, f"ClickHouse's disks were not looked at: {user} may not see them, admin may")
        return
    for name, free, total in clickhouse.rows("SELECT name, free_space, total_space FROM system.disks", database=""):
        yield _room(f"ClickHouse's disk {name}", free, total)


def _clock(whose: str, ahead_s: float) -> Finding:
    if abs(ahead_s) <= _CLOCK_S_MAX:
        return Finding("clock", Verdict.OK, f"{whose}'s differs by {abs(ahead_s) * 1000:.0f} ms, if at all")
    what = f"{whose}'s is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    return Finding("clock", Verdict.FAILED, what, "synchronise both with NTP: late blocks are refused by the clock")


def _room(where: str, free: int, total: int) -> Finding:
    what = f"{where}: {free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free"
    if free >= total * _FREE_SHARE_MIN:
        return Finding("disk", Verdict.OK, what)
    return Finding("disk", Verdict.WARNING, what, "make room, or shorten what is kept (docs/ledger.md, retention)")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.expanduser()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    yield _room(str(folder), usage.free, usage.total)


def _lag(settings: Settings) -> Iterator[Finding]:
    topics = Topics(settings.kafka_bootstrap_servers)
    ledgered = [topic.name for topic in TOPICS if topic.ledgered]
    found = topics.describe(ledgered)
    places = {
        (name, partition): log_id(topic_id, partition)
        for name, (topic_id, count) in found.items()
        for partition in range(count)
    }
    bounds = topics.bounds(places)
    with closing(ClickHouse.of(settings)) as clickhouse:
        heads = {
            str(log): int(at)
            for log, at in clickhouse.rows("SELECT log_id, max(next_offset) FROM ledger_heads GROUP BY log_id")
        }
        heads |= {
            str(log): max(heads.get(str(log), 0), int(at))
            for table in ("events", "audit")
            for log, at in clickhouse.rows(f"SELECT log_id, max(offset) + 1 FROM {table} GROUP BY log_id")
        }
    for name in found:
        behind = sum(max(0, bounds[p][1] - heads.get(log, 0)) for p, log in places.items() if p[0] == name)
        what = f"{name}: about {behind} records of Kafka are not in the ledger yet"
        if behind <= _LAG_MAX:
            yield Finding("lag", Verdict.OK, what)
        else:
            yield Finding("lag", Verdict.WARNING, what, "is `procurator sink` running? its log says what holds it up")


def _checkpoint(settings: Settings) -> Iterator[Finding]:
    place = (CHECKPOINTS.name, 0)
    start, end = Topics(settings.kafka_bootstrap_servers).bounds([place])[place]
    remedy = "is `procurator sign` running, with its key?"
    written_ms = _last_timestamp_ms(settings, max(start, end - 16))
    if written_ms is None:
        yield Finding("checkpoint", Verdict.WARNING, "none has been published yet", remedy)
        return
    age_s = max(0.0, time.time() - written_ms / 1000)
    verdict = Verdict.OK if age_s <= _CHECKPOINT_AGE_S_MAX else Verdict.WARNING
    yield Finding("checkpoint", verdict, f"the last one is {age_s:.0f} s old", "" if verdict is Verdict.OK else remedy)


def _last_timestamp_ms(settings: Settings, offset: int) -> int | None:
    """Return when the last record from ``offset`` on was written; None when there is none."""
    overrides = {"enable.partition.eof": True}
    with closing(
        Consumer(consumer_config(settings.kafka_bootstrap_servers, "procurator-doctor", **overrides))
    ) as reader:
        reader.assign([TopicPartition(CHECKPOINTS.name, 0, offset)])
        last = None
        while (message := reader.poll(TIMEOUT_S)) is not None and message.error() is None:
            last = message.timestamp()[1]
    return last


def _api(settings: Settings) -> Iterator[Finding]:
    for path in ("/healthz", "/readyz"):
        try:
            answer = httpx.get(f"{settings.api_url}{path}", timeout=5, trust_env=False)
        except httpx.TransportError as error:
            raise Unavailable(f"the API at {settings.api_url} does not answer: {error}") from error
        if answer.is_error:
            remedy = "its log says why; ClickHouse may be away"
            yield Finding("api", Verdict.FAILED, f"{path} answers {answer.status_code}", remedy)
            return
    yield Finding("api", Verdict.OK, f"answers at {settings.api_url}")


CHECKS: dict[str, Check] = {
    "versions": _versions,
    "topics": _topics,
    "schemas": _schemas,
    "clickhouse": _tables,
    "disk": _disk,
    "lag": _lag,
    "checkpoint": _checkpoint,
    "api": _api,
}


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return what all of it comes to: failed before unknown before warning."""
    found = {finding.verdict for finding in findings}
    order = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.WARNING)
    return next((verdict for verdict in order if verdict in found), Verdict.OK)
