"""``procurator bench export``: a bulk export of a whole ledger, and what readers notice of it.

A ledger is filled through the pipeline. One reader asks the API for the list, for sessions and for their turns, one
request after another, first alone and then while everything is exported. There is no peer: no other product exports
entries with their leaves.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from procurator.bench.fleet import Fleet, Load
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable

_ALONE_S = 8.0
_SETTLE_S = 300.0
_LOOK_EVERY_S = 0.1


def run(events: int = 300_000) -> dict[str, Any]:
    """Return ``events_per_s`` of the export from its request to its end, and the reader's latencies in ms."""
    with tempfile.TemporaryDirectory() as folder, Stack(StackConfig(Path(folder), Ports.free(), say=_say)) as stack:
        headers = {"Authorization": f"Bearer {stack.admin_key}"}
        with (
            httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as api,
            Fleet(Load(stack.kafka, stack.registry_url, events, sessions=1_000)) as fleet,
        ):
            fleet.start()
            fleet.confirmed()
            _await_ledger(stack, events)
            with _Reader(stack) as alone:
                time.sleep(_ALONE_S)
            figures = {}
            for file_format in ("ndjson", "parquet"):
                with _Reader(stack) as beside:
                    begin = time.perf_counter()
                    export = _export(api, file_format)
                    seconds = time.perf_counter() - begin
                figures[file_format] = {
                    "events_per_s": round(export["events_done"] / seconds),
                    "events": export["events_done"],
                    "bytes": sum(file["bytes"] for file in export["files"]),
                    "reads_ms": beside.percentiles(),
                    "reads_p95_ratio": round(beside.percentiles()["p95"] / alone.percentiles()["p95"], 2),
                }
    return {"events_per_s": figures["ndjson"]["events_per_s"], "reads_alone_ms": alone.percentiles(), **figures}


def _export(api: httpx.Client, file_format: str) -> dict[str, Any]:
    export: dict[str, Any] = api.post("/v1/exports", json={"format": file_format}).raise_for_status().json()
    while export["status"] in ("QUEUED", "RUNNING"):
        time.sleep(_LOOK_EVERY_S)
        export = api.get(f"/v1/exports/{export['export_id']}").raise_for_status().json()
    if export["status"] != "COMPLETED":
        raise Unavailable(f"the export ended {export['status']}: {export['message']}")
    return export


class _Reader:
    """Asks one thing after another while its block lasts."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._over = threading.Event()
        self._latencies_s: list[float] = []
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "_Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def percentiles(self) -> dict[str, float]:
        """Return p50, p95 and p99 in ms."""
        ordered = sorted(self._latencies_s)
        return {f"p{p}": round(1000 * ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 1) for p in (50, 95, 99)}

    def _read(self) -> None:
        headers = {"Authorization": f"Bearer {self._stack.admin_key}"}
        with httpx.Client(base_url=self._stack.api_url, headers=headers, timeout=60, trust_env=False) as api:
            sessions = [item["session_id"] for item in api.get("/v1/sessions?limit=200").json()["items"]]
            number = 0
            while not self._over.is_set():
                number += 1
                session = f"/v1/sessions/{sessions[number % len(sessions)]}"
                path = ("/v1/sessions?limit=50", session, f"{session}/turns")[number % 3]
                begin = time.perf_counter()
                api.get(path).raise_for_status()
                self._latencies_s.append(time.perf_counter() - begin)


def _await_ledger(stack: Stack, events: int) -> None:
    clickhouse = ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")
    until_s = time.monotonic() + _SETTLE_S
    for sql in ("SELECT count() FROM events", "SELECT sum(events) FROM sessions FINAL"):
        while int(clickhouse.rows(sql)[0][0] or 0) < events:
            if time.monotonic() > until_s:
                raise Unavailable(f"the ledger does not have {events} events after {_SETTLE_S:.0f} s")
            time.sleep(0.5)
    clickhouse.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
