"""The simulated company: who runs which agents for whom, and plans of sessions without end. Pure and seeded."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from procurator.producers.simulator import engineering, service
from procurator.producers.simulator.plan import Answer, Delegate, Ending, Model, Script, SessionPlan, Step

GPT_4O = Model("openai", "gpt-4o", 80, caches=True)
GPT_4O_MINI = Model("openai", "gpt-4o-mini", 120, caches=True)
O4_MINI = Model("openai", "o4-mini", 110, reasons=True, caches=True)
SONNET = Model("anthropic", "claude-sonnet-4-5", 70, reasons=True, caches=True, writes_cache=True)
HAIKU = Model("anthropic", "claude-haiku-4-5", 150, caches=True, writes_cache=True)
FLASH = Model("google", "gemini-2.5-flash", 180)
#: A model of one's own, which no price list knows: its calls are unpriced.
IN_HOUSE = Model("in-house", "fernhill-router-7b", 60)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, the team that owns it, and what it does."""

    org_id: str
    owner_team_id: str
    agent_id: str
    name: str
    works: Callable[[Script, dict[str, Any]], None]
    models: tuple[Model, ...]
    origin: str = "API"
    weight: int = 4
    timeout_s: int | None = 1800


AGENTS = (
    Agent(
        "fernhill",
        "customer-care",
        "billing-assistant",
        "Billing assistant",
        service.billing,
        (GPT_4O, HAIKU),
        weight=8,
    ),
    Agent(
        "fernhill",
        "customer-care",
        "support-triage",
        "Support triage",
        service.support,
        (GPT_4O_MINI, IN_HOUSE),
        weight=8,
    ),
    Agent("fernhill", "platform", "ci-fixer", "CI fixer", engineering.coding, (SONNET, O4_MINI), timeout_s=900),
    Agent("fernhill", "platform", "first-responder", "First responder", engineering.incident, (SONNET,), timeout_s=600),
    Agent("fernhill", "data", "revenue-report", "Revenue report", engineering.report, (GPT_4O, FLASH), "SCHEDULE"),
    Agent(
        "fernhill", "finance", "invoice-matcher", "Invoice matcher", engineering.matching, (GPT_4O_MINI,), "WORKFLOW", 6
    ),
    Agent("globex", "travel", "travel-desk", "Travel desk", service.travel, (O4_MINI, GPT_4O)),
    Agent("globex", "legal", "contract-reader", "Contract reader", engineering.contract, (SONNET,), weight=2),
)
#: Called by others over A2A.
RESEARCHER = Agent("fernhill", "data", "researcher", "Researcher", engineering.report, (FLASH,), "A2A")
#: Goes round in circles until it is stopped; only the live fleet has it, and only if asked.
LOOPER = Agent("globex", "travel", "fare-watcher", "Fare watcher", service.fares, (GPT_4O,), "SCHEDULE", timeout_s=1800)
USERS = (
    "ada.winter",
    "bo.lindqvist",
    "chen.wei",
    "dara.oconnor",
    "emre.kaya",
    "fatou.diop",
    "gil.navarro",
    "hana.sato",
)
_CRASHES: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionError, "upstream connect error: the provider closed the connection after 30 s"),
    (ValueError, "model answered with arguments that are no JSON: Expecting ',' delimiter: line 1 column 87"),
    (KeyError, "order_id"),
    (PermissionError, "tool registry refused the agent's token: scope tools:write is missing"),
)
_REASONS = (
    "keeps repeating the same tool call",
    "wrong customer was opened",
    "spends too much",
    "test run left behind",
)


def plans(seed: int) -> Iterator[SessionPlan]:
    """Yield plans of sessions without end; the same for the same seed."""
    rng = random.Random(seed)
    weights = [agent.weight for agent in AGENTS]
    while True:
        yield plan(rng, rng.choices(AGENTS, weights)[0], may_delegate=rng.random() < 0.15)


def loops(seed: int) -> Iterator[SessionPlan]:
    """Yield plans of the agent that goes round in circles, without end; the same for the same seed."""
    rng = random.Random(seed)
    while True:
        script = Script(rng, LOOPER.models[0])
        who = _who(rng, LOOPER)
        LOOPER.works(script, who)
        yield SessionPlan(who, tuple(script.steps))


def plan(rng: random.Random, agent: Agent, may_delegate: bool = False) -> SessionPlan:
    """Return one session of an agent."""
    model = rng.choice(agent.models)
    who = _who(rng, agent)
    script = Script(rng, model)
    agent.works(script, who)
    steps = script.steps
    if may_delegate and agent.org_id == RESEARCHER.org_id:
        steps.insert(_after_an_answer(rng, steps), Delegate(plan(rng, RESEARCHER)))
    if rng.random() < 0.04:
        at = _after_an_answer(rng, steps)
        overloaded = Answer(model, "", None, {}, 812.0, 0.0, error="529 overloaded: try again later")
        steps.insert(at - 1, overloaded)
    ending = _ending(rng, agent)
    if ending.status != "COMPLETED":  # It breaks off somewhere.
        steps = steps[: rng.randrange(2, max(3, len(steps)))]
    return SessionPlan(who, tuple(steps), ending)


def _who(rng: random.Random, agent: Agent) -> dict[str, Any]:
    who: dict[str, Any] = {
        "agent": agent.agent_id,
        "agent_name": agent.name,
        "org_id": agent.org_id,
        "owner_team_id": agent.owner_team_id,
        "timeout_s": agent.timeout_s,
        "labels": {
            "env": "production" if rng.random() < 0.85 else "staging",
            "release": f"2026.{rng.randrange(8, 12)}",
        },
        "runtime": rng.choice(("atlas-runtime/3.2", "langgraph/1.0", "own-loop/0.9")),
    }
    if agent.origin == "API":
        who["user"] = rng.choice(USERS)
        who["labels"]["channel"] = rng.choice(("web", "mobile", "email", "slack"))
        if rng.random() < 0.15:
            who |= {"team_id": "night-shift", "team_name": "Night shift"}
    elif agent.origin == "SCHEDULE":
        who["schedule_id"] = f"{agent.agent_id}-nightly"
    elif agent.origin == "WORKFLOW":
        who |= {"workflow_id": "accounts-payable", "workflow_run_id": f"run-{rng.randrange(16**8):08x}"}
    return who


def _ending(rng: random.Random, agent: Agent) -> Ending:
    drawn = rng.random()
    if drawn < 0.06:
        error, reason = rng.choice(_CRASHES)
        return Ending("FAILED", error, reason)
    if drawn < 0.09:
        return Ending("TERMINATED", reason=rng.choice(_REASONS), by=f"user:{rng.choice(('maria.silva', 'sam.reyes'))}")
    if drawn < 0.11 and agent.timeout_s is not None:
        return Ending("TIMEOUT", TimeoutError, f"the session exceeded its {agent.timeout_s} s")
    return Ending()


def _after_an_answer(rng: random.Random, steps: list[Step]) -> int:
    return rng.choice([index for index, step in enumerate(steps, start=1) if isinstance(step, Answer)])
