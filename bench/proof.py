"""``procurator bench proof``: the proof of one event, over HTTP, from a ledger of ten million entries in one log.

The entries are made in ClickHouse itself, in the real table with all its indexes, several days and arbitrary leaf
hashes; their head is computed, put into the control log and signed, as the signer would. Every proof that is measured
is verified. Nothing goes through the sink.
"""

import random
import tempfile
import uuid
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Any

import httpx
from confluent_kafka import Producer

from procurator.avro_schemas.codec import load_schema
from procurator.checkpoint import Checkpoint, Signer, sign_checkpoint
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.control_entries import EPOCH, Head
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.kafka import Topics, producer_config
from procurator.leaf import entry_leaf_hash, log_id
from procurator.ledger_name import origin_of
from procurator.merkle import Accumulator, verify_inclusion
from procurator.registry import Registry
from procurator.signer.entries import entry, epoch_payload
from procurator.topics import CHECKPOINTS, LEDGER_CONTROL, SESSION_EVENTS
from procurator.verify.source import LedgerSource

DAYS = 10
PROOFS = 500
_DAY_S = 86_400
_LOGS = (SESSION_EVENTS.name, LEDGER_CONTROL.name)


def run(events: int = 10_000_000, seed: int = 0) -> dict[str, Any]:
    """Make ``events`` entries and ask for `PROOFS` proofs, one after the other. Raises what the stack raises."""
    with tempfile.TemporaryDirectory() as folder:
        config = StackConfig(Path(folder), Ports.free(), INFRASTRUCTURE | {"setup", "api"})
        with (
            Stack(config) as stack,
            closing(ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator", 300.0)) as clickhouse,
        ):
            ids = {name: each for name, (each, _) in Topics(stack.kafka).describe(_LOGS).items()}
            log = log_id(ids[SESSION_EVENTS.name], 0)
            _fill(clickhouse, log, events)
            _sign(stack, clickhouse, log_id(ids[LEDGER_CONTROL.name], 0), log)
            first_s, latencies_s = _ask(stack, clickhouse, events, seed)
    cuts = quantiles(latencies_s, n=100)
    return {
        "latency_ms": {name: cuts[at - 1] * 1000 for name, at in (("p50", 50), ("p95", 95), ("p99", 99))},
        "first_proof_s": first_s,
        "entries": events,
        "proofs": len(latencies_s),
    }


_FILL = """
INSERT INTO events
  (log_id, offset, leaf_index, leaf_hash, broker_time, key, value, event_id, session_id, org_id, agent_id,
   owner_team_id, kind)
WITH toInt64({begin:UInt64} * 1000000 + intDiv((number - {first:UInt64}) * 86400000000, {step:UInt64})) AS time_us
SELECT {log:String}, number, number, SHA256(toString(number)), fromUnixTimestamp64Micro(time_us, 'UTC'), 'key',
  'value', reinterpretAsUUID(MD5(toString(number))), reinterpretAsUUID(MD5(toString(intDiv(number, 20)))), 'acme', 'a',
  't', 'TurnRecorded'
FROM numbers({first:UInt64}, {count:UInt64})
"""


def _fill(clickhouse: ClickHouse, log: str, entries: int) -> None:
    """Insert the entries, day by day as Kafka would have given them."""
    step = -(-entries // DAYS)
    begin_s = now_us() // 1_000_000 // _DAY_S * _DAY_S - DAYS * _DAY_S
    for day in range(DAYS):
        first, end = day * step, min(entries, (day + 1) * step)
        begin = begin_s + day * _DAY_S
        clickhouse.execute(_FILL, {"log": log, "begin": begin, "first": first, "step": step, "count": end - first})


def _sign(stack: Stack, clickhouse: ClickHouse, control_log: str, log: str) -> None:
    """Put the log's head into the control log, and a checkpoint over it on its topic."""
    tree, offset = Accumulator(), 0
    for page in LedgerSource(clickhouse).leaves("events", log):
        tree.extend(page.hashes)
        offset = page.offsets[-1] + 1
    origin, time_us = origin_of(control_log), now_us()
    with closing(Registry(stack.registry_url)) as registry:
        ids = {name: registry.schema_id(load_schema(name)) for name in ("ledger_control", "checkpoint")}
    heads = epoch_payload([Head(log, SESSION_EVENTS.name, tree.size, offset, tree.root())])
    epoch = entry(str(uuid.uuid4()), time_us, origin.rpartition("/")[2], EPOCH, heads)
    value = load_schema("ledger_control").encode(epoch, ids["ledger_control"])
    leaf = entry_leaf_hash(control_log, 0, 0, time_us, None, value)
    clickhouse.execute(
        "INSERT INTO ledger_control (log_id, offset, leaf_index, leaf_hash, broker_time, value, kind)"
        f" SELECT {{log:String}}, 0, 0, unhex('{leaf.hex()}'), fromUnixTimestamp64Micro({time_us}, 'UTC'),"
        f" unhex('{value.hex()}'), 'Epoch'",
        {"log": control_log},
    )
    note = sign_checkpoint(Checkpoint(origin, 1, leaf), Signer.generate("bench"))
    record = {
        "log_id": control_log,
        "origin": origin,
        "size": 1,
        "root": leaf,
        "note": note.decode(),
        "signed_at": time_us,
    }
    producer = Producer(producer_config(stack.kafka))
    producer.produce(CHECKPOINTS.name, load_schema("checkpoint").encode(record, ids["checkpoint"]), b"bench", 0)
    producer.flush()


def _ask(stack: Stack, clickhouse: ClickHouse, entries: int, seed: int) -> tuple[float, list[float]]:
    """Return how long the first proof took, which reads every leaf, and each of the others, in s."""
    chosen = random.Random(seed).sample(range(entries), PROOFS + 1)
    numbers = ",".join(map(str, chosen))
    found = clickhouse.rows(f"SELECT toString(event_id) FROM events WHERE leaf_index IN ({numbers})")
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    seconds = []
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=300.0, trust_env=False) as client:
        for (event_id,) in found:
            began_s = monotonic()
            response = client.get(f"/v1/ledger/proof/{event_id}")
            seconds.append(monotonic() - began_s)
            response.raise_for_status()
            proof = response.json()
            leaf, root, *nodes = map(b64decode, (proof["leaf_hash"], proof["root"], *proof["proof"]))
            verify_inclusion(leaf, proof["leaf_index"], proof["size"], nodes, root)
    return seconds[0], seconds[1:]
