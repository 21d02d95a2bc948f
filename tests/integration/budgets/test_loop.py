"""What the demo shows, on the real stack: an agent that loops crosses its budget, and is stopped where it is."""

import threading
from typing import Any

from procurator.producers import Procurator
from procurator.producers.simulator import LOOPER, simulate_live
from procurator.producers.simulator.service import SEARCHES
from procurator.topics import SESSION_STATE


def test_an_agent_that_loops_is_stopped_by_its_budget(fleet: Any, listener: Any) -> None:
    thresholds = (("0.5", "NOTIFY"), ("1", "TERMINATE"))
    fleet.budget(LOOPER.agent_id, "0.05", *thresholds, org_id=LOOPER.org_id, scope="SESSION", unit="USD")
    stop = threading.Event()
    played: list[Any] = []

    def play() -> None:
        played.extend(simulate_live(sdk, stop, speed=3, concurrency=0, looping=True))

    with Procurator(
        kafka_bootstrap_servers=fleet.stack.kafka, schema_registry_url=fleet.stack.registry_url, environment={}
    ) as sdk:
        player = threading.Thread(target=play)
        player.start()
        try:
            state = fleet.wait(lambda: terminated(listener), "it is stopped", 60.0)
        finally:
            stop.set()
            player.join()
    assert (state["ended_by"], state["end_inferred"]) == ("procurator.stream", False)
    assert "budget" in state["end_reason"]
    record = next(each for each in played if each.session_id == state["session_id"])
    assert (record.status, record.events) == ("TERMINATED", state["events"])
    assert record.tool_calls < SEARCHES


def terminated(listener: Any) -> dict[str, Any] | None:
    states: list[dict[str, Any]] = listener.records(SESSION_STATE)
    mine = (state for state in states if state["agent_id"] == LOOPER.agent_id)
    return next((state for state in mine if state["status"] == "TERMINATED"), None)
