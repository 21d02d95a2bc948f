"""What a simulated session will do, as plain data: written by `Script`, played by `procurator.producers.simulator`.

Pure and seeded. Tokens follow from the text that is exchanged, latencies from the tokens, as they do in life.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from procurator.producers.calls import CallStatus

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the fleet uses it. ``caches``: the conversation so far is read from a cache."""

    provider: str
    name: str
    tokens_per_s: float
    reasons: bool = False
    caches: bool = False
    writes_cache: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """A turn that no model made."""

    role: Literal["system", "user"]
    content: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A model call and the assistant's turn that it gives; ``error`` when the provider fails, without a turn."""

    model: Model
    content: str
    thinking: str | None
    usage: dict[str, Any]
    latency_ms: float
    first_token_ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A tool call, and the tool's turn where it answers."""

    tool: str
    server: str | None
    input: Any
    output: Any
    status: CallStatus
    error: str | None
    latency_ms: float
    timeout_ms: float | None


@dataclass(frozen=True, slots=True)
class Approve:
    """A pause for a person's decision; ``decision`` None while nobody has decided."""

    reason: str
    decision: Literal["APPROVED", "DENIED", "EXPIRED"] | None
    decided_by: str
    waits_s: float


@dataclass(frozen=True, slots=True)
class Delegate:
    """A session started over A2A within a tool call."""

    plan: "SessionPlan"


Step = Say | Answer | Use | Approve | Delegate


@dataclass(frozen=True, slots=True)
class Ending:
    """How the session ends. ``status`` None: it does not, yet. ``by`` and ``reason`` with TERMINATED."""

    status: Literal["COMPLETED", "FAILED", "TERMINATED", "TIMEOUT"] | None = "COMPLETED"
    error: type[Exception] = RuntimeError
    reason: str = ""
    by: str = "runtime"


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One session: the arguments of `Procurator.session`, its steps, its end."""

    who: dict[str, Any]
    steps: tuple[Step, ...]
    ending: Ending = field(default_factory=Ending)

    @property
    def sessions(self) -> int:
        """Number of sessions: this one and those it starts."""
        return 1 + sum(step.plan.sessions for step in self.steps if isinstance(step, Delegate))

    def left_open(self, rng: random.Random) -> "SessionPlan":
        """Return the plan broken off: waiting for a decision if it comes to one, else at work somewhere."""
        for index, step in enumerate(self.steps):
            if isinstance(step, Approve):
                waiting = replace(step, decision=None)
                return replace(self, steps=(*self.steps[:index], waiting), ending=Ending(None))
        return replace(self, steps=self.steps[: rng.randrange(2, len(self.steps) + 1)], ending=Ending(None))


class Script:
    """Writes the steps of a session, keeping count of what the model has been shown."""

    def __init__(self, rng: random.Random, model: Model) -> None:
        self.rng = rng
        self.model = model
        self.steps: list[Step] = []
        self._context = 0  # characters
        self._cached = 0  # tokens

    def system(self, text: str) -> None:
        self._say("system", text, 0.0)

    def user(self, text: str) -> None:
        self._say("user", text, self.rng.uniform(4, 40) if self.steps else 0.0)

    def answer(self, text: str, thinking: str | None = None, *, error: str | None = None) -> None:
        """Let the model say ``text``; only a model that reasons thinks."""
        if not self.model.reasons:
            thinking = None
        shown = self._context // CHARACTERS_PER_TOKEN + 90  # tool definitions
        said = 0 if error else len(text) // CHARACTERS_PER_TOKEN + 6
        thought = 0 if error or not self.model.reasons else len(thinking or "") // 3 + self.rng.randrange(40, 400)
        usage: dict[str, Any] = {} if error else self._usage(shown, said, thought)
        first_token_ms = self.rng.lognormvariate(6.1, 0.4)
        latency_ms = first_token_ms + (said + thought) / self.model.tokens_per_s * 1000
        self.steps.append(
            Answer(self.model, text, thinking, usage, round(latency_ms, 3), round(first_token_ms, 3), error)
        )
        self._context += len(text)

    def use(
        self,
        tool: str,
        input: Any,
        output: Any,
        *,
        server: str | None = None,
        say: str = "",
        thinking: str | None = None,
        slow: float = 1.0,
    ) -> None:
        """Let the model call a tool that answers; ``say`` is what it says while calling."""
        self.answer(say, thinking)
        self._use(tool, server, input, output, "SUCCESS", None, slow)

    def fail(self, tool: str, input: Any, error: str, *, server: str | None = None, say: str = "") -> None:
        """Let the model call a tool that raises."""
        self.answer(say)
        self._use(tool, server, input, None, "ERROR", error, 1.0)

    def hang(self, tool: str, input: Any, timeout_s: float, *, server: str | None = None, say: str = "") -> None:
        """Let the model call a tool that does not answer in time."""
        self.answer(say)
        error = f"no answer within {timeout_s:g} s"
        self.steps.append(Use(tool, server, input, None, "TIMEOUT", error, timeout_s * 1000, timeout_s * 1000))

    def approve(self, reason: str, decision: Literal["APPROVED", "DENIED", "EXPIRED"] | None, by: str) -> None:
        self.steps.append(Approve(reason, decision, by, round(self.rng.uniform(20, 400), 3)))

    def delegate(self, plan: SessionPlan) -> None:
        self.steps.append(Delegate(plan))

    def _say(self, role: Literal["system", "user"], text: str, after_s: float) -> None:
        self.steps.append(Say(role, text, round(after_s, 3)))
        self._context += len(text)

    def _use(
        self, tool: str, server: str | None, input: Any, output: Any, status: CallStatus, error: str | None, slow: float
    ) -> None:
        latency_ms = round(self.rng.lognormvariate(4.8, 0.7) * slow, 3)
        self.steps.append(Use(tool, server, input, output, status, error, latency_ms, 30_000.0))
        self._context += len(str(input)) + len(str(output))

    def _usage(self, shown: int, said: int, thought: int) -> dict[str, Any]:
        cached = self._cached if self.model.caches else 0
        written = shown - cached if self.model.writes_cache else 0
        self._cached = shown
        return {
            "input_tokens": shown - cached - written,
            "cached_input_tokens": cached,
            "cache_write_tokens": written,
            "output_tokens": said,
            "reasoning_tokens": thought,
        }
