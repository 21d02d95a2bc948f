"""``procurator bench webhooks``: signed entries to one endpoint, and 100 endpoints of which 10 never answer.

First everything that a fleet publishes at once goes to one endpoint: the rate is that of the receiver, from the first
entry to the last. Then a steady trickle goes to 100 endpoints, all of them good, and once more while ten of them accept
and never answer: the ages of entries when they reach the others, from Kafka's time on, in both rounds.
There is no peer: nothing else signs and numbers what it reads from Kafka.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from procurator.bench.fleet import Fleet, Load
from procurator.bench.usage import Usage
from procurator.bench.webhooks_receiver import DEAD, Arrivals, Receiver
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable
from procurator.webhooks.endpoint import SESSION_KINDS

_COMPONENTS = INFRASTRUCTURE | {"setup", "api", "forward"}
_ENDPOINTS, _DEAD = 100, 10
_STEADY_S = 30.0
_SETTLE_S = 120.0
_LOOK_EVERY_S = 0.2


def run(events: int = 100_000, rate: float = 10.0) -> dict[str, Any]:
    """Return ``events_per_s`` to one endpoint, and ages in ms with 100 endpoints; ``rate`` is of events to each."""
    os.environ["PROCURATOR_WEBHOOK_PRIVATE_NETWORKS"] = "127.0.0.1/32"
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(StackConfig(Path(folder), Ports.free(), _COMPONENTS, say=_say)) as stack,
    ):
        headers = {"Authorization": f"Bearer {stack.admin_key}"}
        with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as api:
            one = _one_endpoint(stack, api, events)
            good = _many_endpoints(stack, api, rate, 0)
            beside = _many_endpoints(stack, api, rate, _DEAD)
    return {
        **one,
        "endpoints": _ENDPOINTS,
        "latency_ms": beside,
        "latency_without_dead_ms": good,
        "dead": _DEAD,
        "p99_ratio": round(good["p99"] / beside["p99"], 2),
    }


def _one_endpoint(stack: Stack, api: httpx.Client, events: int) -> dict[str, Any]:
    with Receiver(ages=False) as receiver, Fleet(Load(stack.kafka, stack.registry_url, events)) as fleet:
        (webhook,) = _made(api, [f"http://127.0.0.1:{receiver.port}/"])
        usage = Usage.begin(stack, ("forward", "kafka"))
        fleet.start()
        fleet.confirmed()
        arrived = _until(receiver, events)
        cpu_s = usage.cpu_s()
        api.delete(webhook).raise_for_status()
    seconds = arrived.last_s - arrived.first_s
    return {
        "events_per_s": round(arrived.entries / seconds),
        "events": arrived.entries,
        "cpu_us_per_event": {name: round(spent * 1e6 / events, 1) for name, spent in cpu_s.items()},
    }


def _many_endpoints(stack: Stack, api: httpx.Client, rate: float, dead: int) -> dict[str, float]:
    count = round(rate * _STEADY_S)
    load = Load(stack.kafka, stack.registry_url, count, rate, sessions=20)
    with Receiver(ages=True) as receiver, Fleet(load) as fleet:
        base = f"http://127.0.0.1:{receiver.port}"
        paths = [f"{base}{DEAD if number < dead else ''}/{number}" for number in range(_ENDPOINTS)]
        webhooks = _made(api, paths)
        fleet.start()
        fleet.confirmed()
        ages = sorted(_until(receiver, count * (_ENDPOINTS - dead)).ages_ms)
        for webhook in webhooks:
            api.delete(webhook).raise_for_status()
    return {f"p{p}": round(ages[min(len(ages) * p // 100, len(ages) - 1)], 1) for p in (50, 95, 99)}


def _made(api: httpx.Client, urls: list[str]) -> list[str]:
    """Make an endpoint for each URL; return their addresses in the API once the forwarder has all of them."""
    body = {"name": "bench", "every_organisation": True, "kinds": list(SESSION_KINDS)}
    made = [api.post("/v1/webhooks", json={**body, "url": url}).raise_for_status().json() for url in urls]
    addresses = [f"/v1/webhooks/{each['endpoint_id']}" for each in made]
    until_s = time.monotonic() + _SETTLE_S
    while any(item["status"] == "starting" for item in api.get("/v1/webhooks").raise_for_status().json()["items"]):
        if time.monotonic() > until_s:
            raise Unavailable("the forwarder does not take up its endpoints")
        time.sleep(_LOOK_EVERY_S)
    return addresses


def _until(receiver: Receiver, entries: int) -> Arrivals:
    """Return what arrived, once it is so many entries; repeats would count too, and there are none here."""
    total = Arrivals(0, 0.0, 0.0, [])
    until_s = time.monotonic() + _SETTLE_S
    while total.entries < entries:
        if time.monotonic() > until_s:
            raise Unavailable(f"{total.entries} of {entries} entries arrived within {_SETTLE_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
        more = receiver.take()
        if more.entries:
            first_s = total.first_s or more.first_s
            total = Arrivals(total.entries + more.entries, first_s, more.last_s, total.ages_ms + more.ages_ms)
    return total


def _say(line: str) -> None:
    print(line, file=sys.stderr)
