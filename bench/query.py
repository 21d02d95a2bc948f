"""``procurator bench query``: how soon the query API answers on a large ledger, its audit included.

The ledger is made once (see `procurator.bench.query_ledger`) in a data directory that later runs use again. The whole
stack runs on this machine; requests go to its API over HTTP with the operator's key, whose scope leaves nothing out.
There is no peer: no other product answers these questions.
"""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from procurator.bench import query_ledger
from procurator.bench.query_ledger import LONG_SESSION, RARE_WORD
from procurator.clickhouse import ClickHouse
from procurator.config import settings
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.registry import Registry

#: Requests of each kind that are measured, and those before, that are not.
_REQUESTS = 40
_WARM_UP = 3
#: With many clients at once every kind takes a share of this time at most.
_TOGETHER_S = 2.0
_CLIENTS = 16
_BUILD_TIMEOUT_S = 1_800.0


@dataclass(frozen=True)
class Question:
    """One kind of request. ``paths`` are asked in turn."""

    name: str
    paths: tuple[str, ...]


def run(events: int = 10_000_000, data_dir: str = "") -> dict[str, Any]:
    """Return latencies in ms by question, with one client and with many; ``latency_ms`` is over all with one client."""
    with large_ledger(events, data_dir) as stack:
        clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
        ((stored, sessions),) = clickhouse.rows("SELECT (SELECT count() FROM events), (SELECT count() FROM sessions)")
        questions = _questions(clickhouse)
        clickhouse.close()
        headers = {"Authorization": f"Bearer {stack.admin_key}"}
        with httpx.Client(base_url=stack.api_url, headers=headers, timeout=120, trust_env=False) as client:
            alone = {question.name: _alone(client, question) for question in questions}
            together = {question.name: _together(client, question) for question in questions}
    return {
        "events": stored,
        "sessions": sessions,
        "latency_ms": percentiles([ms for measured in alone.values() for ms in measured]),
        "one_client_ms": {name: percentiles(measured) for name, measured in alone.items()},
        f"{_CLIENTS}_clients_ms": {name: percentiles(measured) for name, measured in together.items()},
    }


@contextmanager
def large_ledger(events: int, data_dir: str = "") -> Iterator[Stack]:
    """Run the stack on a ledger of ``events`` events, made when it is not there yet."""
    folder = (
        Path(data_dir) if data_dir else settings().cache_dir.expanduser() / f"bench-query-{events}-{query_ledger.FORM}"
    )
    with Stack(StackConfig(folder, Ports.free(), say=_say)) as stack:
        _prepared(stack, folder, events)
        yield stack


def _prepared(stack: Stack, folder: Path, events: int) -> None:
    """Make the ledger, unless an earlier run has: a file beside it says that it is whole."""
    built = folder / "bench-query-ledger"
    if built.exists():
        return
    clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator", _BUILD_TIMEOUT_S)
    for table in ("events", "sessions"):  # what a build that was broken off has left
        clickhouse.execute(f"TRUNCATE TABLE {table}")
    query_ledger.build(clickhouse, Registry(stack.registry_url), events, _say)
    clickhouse.close()
    built.write_text(f"{events}\n", "utf-8")


def _questions(clickhouse: ClickHouse) -> list[Question]:
    """Return what is asked: every kind of filter, text, order, detail and sum."""
    ids = [
        str(row[0])
        for row in clickhouse.rows("SELECT session_id FROM sessions ORDER BY cityHash64(session_id) LIMIT 60")
    ]
    filters = {
        "agent": [f"agent:agent-{n}" for n in range(40)],
        "owner team": [f"owner_team:team-{n}" for n in range(12)],
        "organisation": [f"org:org-{n}" for n in range(4)],
        "user": [f"user:user-{n}" for n in range(100)],
        "team": ["team:none"],
        "initiator": ["initiator:SYSTEM"],
        "status": ["status:FAILED", "status:TERMINATED,TIMEOUT"],
        "origin": ["origin:SCHEDULE", "origin:WORKFLOW"],
        "workflow": ["workflow:none"],
        "label": ["label:env=prod"],
        "model": ["model:gpt-4o", "model:house-7b"],
        "tool": [f"tool:tool_{n}" for n in range(12)],
        "tool and status": [f"tool:tool_{n}=ERROR" for n in range(12)],
        "mcp server": ["mcp_server:crm"],
        "cost": ["cost>0.1", "cost<0.01"],
        "tokens": ["tokens>90000"],
        "duration": ["duration>12s"],
        "turns": ["turns>9"],
        "completed": ["completed<2026-09-19"],
        "started": ["started>=2026-09-19 started<2026-09-20"],
        "unpriced": ["is:unpriced"],
        "flagged": ["is:flagged"],
        "stalled": ["is:stalled"],
        "incomplete": ["is:incomplete"],
        "compound": [f"agent:agent-{n} status:FAILED cost>0.02 started>=2026-09-01" for n in range(40)],
        "word": ["refund", "insurance", "passenger"],
        "rare word": [RARE_WORD],
        "beginning": ["refun*", "insur*"],
        "phrase": ['"refund policy"', '"gift card"'],
        "text and filter": [f"refund agent:agent-{n} status:FAILED" for n in range(40)],
    }
    details = {"detail": "", "turns": "/turns?limit=50", "tool calls": "/tool-calls?limit=50"}
    return [
        Question("newest page", ("/v1/sessions?limit=50",)),
        *(Question(name, tuple(map(_list, asked))) for name, asked in filters.items()),
        *(
            Question(f"sort by {sort}", (f"/v1/sessions?limit=50&sort={sort}",))
            for sort in ("cost", "duration", "tokens")
        ),
        *(
            Question(f"session {name}", tuple(f"/v1/sessions/{one}{path}" for one in ids))
            for name, path in details.items()
        ),
        *(Question(f"long session {name}", (f"/v1/sessions/{LONG_SESSION}{path}",)) for name, path in details.items()),
        Question("facets", ("/v1/sessions/facets", "/v1/sessions/facets?owner_team=team-3")),
        Question("spend by team and day", ("/v1/spend?group_by=owner_team,day",)),
    ]


def _list(search: str) -> str:
    return f"/v1/sessions?{httpx.QueryParams({'limit': 50, 'q': search})}"


def _alone(client: httpx.Client, question: Question) -> list[float]:
    """Return the latencies of requests one after the other."""
    paths = itertools.cycle(question.paths)
    for _ in range(_WARM_UP):
        _asked_ms(client, next(paths))
    measured = [_asked_ms(client, next(paths)) for _ in range(_REQUESTS)]
    _say(f"{question.name}: {percentiles(measured)}")
    return measured


def _together(client: httpx.Client, question: Question) -> list[float]:
    """Return the latencies while many ask at once, each again as soon as it has its answer."""
    paths, lock, until_s = itertools.cycle(question.paths), threading.Lock(), time.monotonic() + _TOGETHER_S

    def ask(_client: int) -> list[float]:
        measured: list[float] = []
        while not measured or (time.monotonic() < until_s and len(measured) < _REQUESTS // 4):
            with lock:
                path = next(paths)
            measured.append(_asked_ms(client, path))
        return measured

    with ThreadPoolExecutor(_CLIENTS) as pool:
        return [ms for measured in pool.map(ask, range(_CLIENTS)) for ms in measured]


def _asked_ms(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return (time.perf_counter() - began) * 1_000


def percentiles(measured: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99, to a tenth."""
    ordered = sorted(measured)
    return {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1) for p in (50, 95, 99)}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
