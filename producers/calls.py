"""Tool calls and model calls as blocks: started when entered, completed when left, whatever happens in between."""

import time
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from procurator.avro_schemas.codec import from_decimal
from procurator.errors import UserError
from procurator.events import (
    INT_MAX,
    INTEGER_MAX,
    MODEL_CALL_COMPLETED,
    MODEL_CALL_STARTED,
    TOKEN_BUCKETS,
    TOOL_CALL_COMPLETED,
    TOOL_CALL_STARTED,
)
from procurator.producers.errors import SessionTerminated
from procurator.producers.json_text import safe_text, to_json
from procurator.producers.limits import clean
from procurator.producers.scope import Scope
from procurator.producers.tasks import Guard, is_cancellation
from procurator.producers.vendor_usage import usage_of

if TYPE_CHECKING:
    from threading import Event

    from procurator.producers.session import Session

CallStatus = Literal["SUCCESS", "ERROR", "TIMEOUT", "CANCELLED"]
CALL_STATUSES = ("SUCCESS", "ERROR", "TIMEOUT", "CANCELLED")
_Number = TypeVar("_Number", int, float, int | None, float | None)


class _Call(Scope):
    """What both kinds of call share: an id, a turn, a clock, and that they complete exactly once.

    Whatever a call comes to after its session was terminated, it is recorded as CANCELLED.
    """

    def __init__(self, session: "Session", call_id: str, turn_index: int | None) -> None:
        self.id = clean(call_id)
        self._session = session
        self._turn_index = turn_index
        self._completed = False
        self._started_at = 0.0
        self._guard: Guard | None = None

    @property
    def cancelled(self) -> "Event":
        """Is set once the session was terminated: the call's result will not be taken any more."""
        return self._session.cancelled

    def _since_start_ms(self) -> float:
        return (time.perf_counter() - self._started_at) * 1000

    def _enter(self) -> None:
        if not self._session.orders.free:
            self._session.wait_until_free()
        self._begin()

    async def _enter_async(self) -> None:
        if not self._session.orders.free:
            await self._session.wait_until_free_async()
        self._begin()

    def _begin(self) -> None:
        self._started_at = time.perf_counter()
        self._emit_started()
        self._guard = self._session.tasks.enter()

    def _leave(self, error: BaseException | None) -> None:
        if not self._completed:
            status = status_of(error, self._session.session_id)
            self._emit_unfinished(status, None if error is None else safe_text(error) or type(error).__name__)

    def _instead(self, error: BaseException | None) -> BaseException | None:
        guard, self._guard = self._guard, None
        others_ask = self._session.tasks.leave(guard)
        told = self._session.orders.terminated
        # Where the session has a block, the cancellation goes on to that: no `except Exception` on the way stops it.
        stopped = error is None or (is_cancellation(error) and not self._session.has_block and not others_ask)
        return SessionTerminated(told, self._session.session_id) if told is not None and stopped else None

    def _judge(self, status: CallStatus, error_message: str | None) -> tuple[CallStatus, str | None, bool]:
        """Return status and message as they are to be recorded, and whether the result counts."""
        if self._completed:
            raise UserError("the call is completed already")
        if status not in CALL_STATUSES:
            raise UserError(f"status: {status!r} is none of {', '.join(CALL_STATUSES)}")
        told = self._session.orders.terminated
        if told is None:
            return status, error_message, True
        return "CANCELLED", str(SessionTerminated(told)), False

    @abstractmethod
    def _emit_started(self) -> None:
        """Record that the call begins."""

    @abstractmethod
    def _emit_unfinished(self, status: CallStatus, error_message: str | None) -> None:
        """Record that the block was left without a result."""


class ToolCall(_Call):
    """One tool call. `id` is its ``tool_call_id``."""

    def __init__(
        self,
        session: "Session",
        tool_name: str,
        input: object,
        *,
        call_id: str,
        mcp_server_id: str | None,
        turn_index: int | None,
        timeout_ms: float | None,
    ) -> None:
        super().__init__(session, call_id, turn_index)
        self._input = to_json(input)
        self._common: dict[str, Any] = {
            "tool_call_id": self.id,
            "tool_name": tool_name,
            "mcp_server_id": mcp_server_id,
            "turn_index": at_least_zero("turn_index", turn_index, INT_MAX),
            "timeout_ms": at_least_zero("timeout_ms", timeout_ms),
        }

    def complete(
        self,
        output: object = None,
        *,
        status: CallStatus = "SUCCESS",
        error_message: str | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Record the end of the call now; leaving the block then records nothing more.

        ``output`` is any object (see `procurator.producers.json_text`; wrap what is JSON text already in JsonText).
        ``latency_ms`` is measured when it is not given. Raises UserError for a second completion. Once the session was
        terminated the call is recorded as CANCELLED, without its output, and SessionTerminated raised.
        """
        status, error_message, counts = self._judge(status, error_message)
        at_least_zero("latency_ms", latency_ms)
        self._completed = True
        self._session.record(
            TOOL_CALL_COMPLETED,
            {
                **self._common,
                "status": status,
                "output": to_json(output) if counts and output is not None else None,
                "error_message": error_message,
                "latency_ms": self._since_start_ms() if latency_ms is None else latency_ms,
            },
        )
        self._session.check()

    def _emit_started(self) -> None:
        self._session.emit(TOOL_CALL_STARTED, {**self._common, "input": self._input})
        del self._input  # It may be megabytes, and the call may be long.

    def _emit_unfinished(self, status: CallStatus, error_message: str | None) -> None:
        with suppress(SessionTerminated):
            self.complete(status=status, error_message=error_message)


class ModelCall(_Call):
    """One model call. `id` is its ``model_call_id``."""

    def __init__(
        self,
        session: "Session",
        provider: str,
        model: str,
        *,
        call_id: str,
        turn_index: int | None,
        input_tokens_estimate: int | None,
        max_output_tokens: int | None,
        parameters: object,
    ) -> None:
        super().__init__(session, call_id, turn_index)
        self._provider = provider
        self._model = model
        self._first_token_ms: float | None = None
        self._request: dict[str, Any] = {
            "model_call_id": self.id,
            "provider": provider,
            "model": model,
            "turn_index": at_least_zero("turn_index", turn_index, INT_MAX),
            "input_tokens_estimate": at_least_zero("input_tokens_estimate", input_tokens_estimate),
            "max_output_tokens": at_least_zero("max_output_tokens", max_output_tokens),
            "parameters": None if parameters is None else to_json(parameters),
        }

    def first_token(self) -> None:
        """Note that the first token has arrived now; the completed call then has ``first_token_ms``."""
        if self._first_token_ms is None:
            self._first_token_ms = self._since_start_ms()

    def complete(
        self,
        *,
        usage: object = None,
        input_tokens: int = 0,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
        reasoning_tokens: int = 0,
        status: CallStatus = "SUCCESS",
        error_message: str | None = None,
        model: str | None = None,
        finish_reason: str | None = None,
        reported_cost_usd: Decimal | str | int | float | None = None,
        latency_ms: float | None = None,
        first_token_ms: float | None = None,
        estimated: Iterable[str] = (),
    ) -> None:
        """Record the end of the call and its usage now; leaving the block then records nothing more.

        The buckets are disjoint: ``input_tokens`` without those read from or written to a cache, ``output_tokens``
        without reasoning. ``usage`` is what the vendor's response reports instead, as it is, see `vendor_usage`; what
        has none of the known shapes stands as zero tokens, estimated. ``model`` is the one that answered, if it is not
        the one asked. ``estimated`` names the fields that are guesses. Raises UserError for a negative number and for a
        second completion. Once the session was terminated the call is recorded as CANCELLED, with its usage, since that
        is owed, and SessionTerminated raised.
        """
        status, error_message, _ = self._judge(status, error_message)
        tokens = [input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens]
        if usage is not None:
            if any(tokens):
                raise UserError("usage: give either what the vendor reported or the tokens, not both")
            *tokens, guesses = usage_of(usage)
            estimated = (*estimated, *guesses)
        payload = {
            "model_call_id": self.id,
            "provider": self._provider,
            "model": model or self._model,
            "turn_index": self._turn_index,
            "status": status,
            "error_message": error_message,
            **{bucket: at_least_zero(bucket, count) for bucket, count in zip(TOKEN_BUCKETS, tokens, strict=True)},
            "latency_ms": self._since_start_ms() if latency_ms is None else at_least_zero("latency_ms", latency_ms),
            "first_token_ms": self._first_token_ms
            if first_token_ms is None
            else at_least_zero("first_token_ms", first_token_ms),
            "reported_cost_usd": money(reported_cost_usd),
            "finish_reason": finish_reason,
        }
        self._completed = True
        self._session.record(MODEL_CALL_COMPLETED, payload, estimated=list(estimated))
        self._session.model_call_completed(self.id)
        self._session.check()

    def _emit_started(self) -> None:
        self._session.emit(MODEL_CALL_STARTED, self._request)

    def _emit_unfinished(self, status: CallStatus, error_message: str | None) -> None:
        # Nobody said what was used, and unless the provider refused the call something was: zero is then a guess.
        guesses = () if status == "ERROR" else TOKEN_BUCKETS
        with suppress(SessionTerminated):
            self.complete(status=status, error_message=error_message, estimated=guesses)


def status_of(error: BaseException | None, session_id: str) -> CallStatus:
    """Return how a session's call ended that was left with ``error``: TimeoutError is TIMEOUT, a stop CANCELLED."""
    if error is None:
        return "SUCCESS"
    if isinstance(error, TimeoutError):
        return "TIMEOUT"
    if isinstance(error, SessionTerminated):
        # Another session's end, that of a delegate for example, is a failure of this call.
        return "CANCELLED" if error.session_id in (None, session_id) else "ERROR"
    if not isinstance(error, Exception):
        return "CANCELLED"  # asyncio.CancelledError, KeyboardInterrupt, GeneratorExit
    return "CANCELLED" if is_cancellation(error) else "ERROR"


def money(value: Decimal | str | float | None) -> bytes | None:
    """Return Avro's decimal of an amount in USD, rounded to 10^-18. Raises UserError when it is none, or negative."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
        if not amount.is_finite() or amount < 0:
            raise ValueError
        return from_decimal(amount.quantize(Decimal(1).scaleb(-18)))
    except (InvalidOperation, ValueError):
        raise UserError(f"reported_cost_usd: {safe_text(value)!r} is no amount of USD from 0 up") from None


def at_least_zero(name: str, value: _Number, maximum: int = INTEGER_MAX) -> _Number:
    """Return a number that the ledger takes, or None. Raises UserError for what it would reject, an event too late."""
    if value is not None and not (isinstance(value, int | float) and 0 <= value <= maximum):  # NaN is neither
        raise UserError(f"{name}: {safe_text(value)} is no number from 0 to {maximum:,}")
    return value
