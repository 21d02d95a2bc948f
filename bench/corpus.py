"""Events to measure with: sessions of agents in their usual rhythm, whose texts are drawn from recorded sessions.

Seeded: the same arguments give the same events. The recordings are `shared/traces` beside the checkout; without them
(in an installed package) the texts are made of words, of the same lengths.
"""

import gzip
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from procurator import events
from procurator.avro_schemas.codec import load_schema

#: Most events are 0.5–1.5 kB on the wire; those of a model call carry no text and are smaller.
TEXT_CHARS = (450, 1_350)
#: Provider, model as runtimes name it; the last one has no price.
MODELS = (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"), ("acme", "house-7b"))
#: Model calls of a session, at least and at most.
STEPS = (3, 12)
STATUSES = ("COMPLETED",) * 8 + ("FAILED", "TERMINATED")
START_US = 1_790_000_000_000_000

_TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces" / "tau-bench-airline-gpt-4o.json.gz"
_WORDS = ("the", "agent", "reads", "an", "order", "asks", "what", "went", "wrong", "in", "stock", "refund", "Jürgen")

Payload = tuple[str, dict[str, Any]]


class Event(NamedTuple):
    """An event to be published: its key (the session id) and the raw record of session_event.avsc."""

    session_id: str
    record: dict[str, Any]


def whole_sessions(count: int, *, seed: int = 0, steps: tuple[int, int] = (1, 5)) -> Iterator[list[Event]]:
    """Yield ``count`` sessions, each with all its events; of ``steps`` model calls at least and at most."""
    rng = random.Random(seed)
    texts = _Texts(rng)
    for _ in range(count):
        yield list(_session(rng, texts, steps))


def stream(count: int, *, seed: int = 0, sessions_at_once: int = 1_000) -> Iterator[Event]:
    """Yield ``count`` events of sessions that run side by side: some end, others begin."""
    rng = random.Random(seed)
    texts = _Texts(rng)
    running = [_session(rng, texts) for _ in range(min(sessions_at_once, count))]
    for _ in range(count):
        place = rng.randrange(len(running))
        event = next(running[place], None)
        if event is None:
            running[place] = _session(rng, texts)
            event = next(running[place])
        yield event


def encode(event: Event, schema_id: int) -> bytes:
    """Return the event as it goes over the wire."""
    return load_schema("session_event").encode(event.record, schema_id)


def _session(rng: random.Random, texts: "_Texts", steps: tuple[int, int] = STEPS) -> Iterator[Event]:
    session_id = _uuid(rng)
    identity = {
        "session_id": session_id,
        "emitter_id": f"runtime-{rng.randrange(8)}",
        "org_id": f"org-{rng.randrange(4)}",
        "agent_id": f"agent-{rng.randrange(40)}",
        "owner_team_id": f"team-{rng.randrange(12)}",
    }
    occurred_at = START_US + rng.randrange(86_400_000_000)
    for sequence, payload in enumerate(_payloads(rng, texts, rng.randint(*steps))):
        occurred_at += rng.randrange(1_000_000)
        envelope = {
            "event_id": _uuid(rng),
            "sequence": sequence,
            "occurred_at": occurred_at,
            "nonce": rng.randbytes(16),
        }
        yield Event(session_id, {**identity, **envelope, "payload": payload})


def _payloads(rng: random.Random, texts: "_Texts", steps: int) -> Iterator[Payload]:
    yield (
        events.SESSION_STARTED,
        {
            "agent_name": "Refunds",
            "user_id": f"user-{rng.randrange(500)}",
            "initiator": "USER",
            "origin": rng.choice(("API", "SCHEDULE", "WORKFLOW")),
            "timeout_s": 900,
            "labels": {"env": "prod", "ticket": texts.next()[:300]},
        },
    )
    yield _turn(0, "USER", texts)
    provider, model = rng.choice(MODELS)
    index = 1
    for step in range(steps):
        call = {"model_call_id": f"m{step}", "provider": provider, "model": model, "turn_index": index}
        yield events.MODEL_CALL_STARTED, {**call, "parameters": json.dumps({"temperature": 0, "system": texts.next()})}
        yield events.MODEL_CALL_COMPLETED, {**call, **_usage(rng), "latency_ms": rng.uniform(200, 9_000)}
        yield _turn(index, "ASSISTANT", texts)
        yield from _tool_call(rng, texts, f"t{step}", index)
        yield _turn(index + 1, "TOOL", texts)
        index += 2
    yield events.SESSION_ENDED, {"status": rng.choice(STATUSES), "ended_by": "runtime", "reason": texts.next()}


def _turn(index: int, role: str, texts: "_Texts") -> Payload:
    return events.TURN_RECORDED, {"turn_index": index, "role": role, "content": texts.next()}


def _tool_call(rng: random.Random, texts: "_Texts", call_id: str, index: int) -> Iterator[Payload]:
    call = {
        "tool_call_id": call_id,
        "tool_name": f"tool_{rng.randrange(12)}",
        "mcp_server_id": rng.choice((None, "crm", "orders")),
        "turn_index": index,
    }
    yield events.TOOL_CALL_STARTED, {**call, "input": json.dumps({"query": texts.next()}), "timeout_ms": 30_000.0}
    status = "SUCCESS" if rng.random() < 0.93 else rng.choice(("ERROR", "TIMEOUT"))
    output = json.dumps({"result": texts.next()})
    yield events.TOOL_CALL_COMPLETED, {**call, "status": status, "output": output, "latency_ms": rng.uniform(5, 900)}


def _usage(rng: random.Random) -> dict[str, int]:
    return {
        "input_tokens": rng.randrange(200, 20_000),
        "cached_input_tokens": rng.choice((0, 0, rng.randrange(10_000))),
        "output_tokens": rng.randrange(20, 1_500),
        "reasoning_tokens": rng.choice((0, 0, 0, rng.randrange(2_000))),
    }


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


class _Texts:
    """Pieces of the recorded messages, of random lengths, without end."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._text = _recorded() or _made_up(rng)
        self._at = 0

    def next(self) -> str:
        length = self._rng.randint(*TEXT_CHARS)
        if self._at + length > len(self._text):
            self._at = 0
        self._at += length
        return self._text[self._at - length : self._at]


def _recorded() -> str:
    if not _TRACES.exists():
        return ""
    sessions = json.loads(gzip.decompress(_TRACES.read_bytes()))
    return "\n".join(message["content"] for session in sessions for message in session["traj"] if message["content"])


def _made_up(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(200_000))
