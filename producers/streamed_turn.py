"""A turn that is written piece by piece: shown live as it grows, recorded whole when it is done."""

import threading
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from procurator.producers.limits import clean

Part = Literal["CONTENT", "THINKING"]


class Piece(dict[str, Any]):
    """What turn_delta.avsc says of one piece, but for whose session it is."""


class Recorder(Protocol):
    """A session, as a turn that is being written needs it."""

    def check(self) -> None:
        """Raise SessionTerminated once the session was terminated."""

    def reserve_turn(self, speaker: str) -> int:
        """Return the index of a turn that begins now."""

    def record_turn(self, index: int, speaker: str, content: str, **more: Any) -> None:
        """Record the turn with that index, whole."""


class Channel(Protocol):
    """Carries pieces while turns are open; see `procurator.producers.delta_channel`."""

    def open(self, turn: "StreamedTurn") -> None:
        """Take the turn's pieces from now on."""

    def close(self, turn: "StreamedTurn") -> None:
        """Take them no longer."""


class StreamedTurn:
    """One turn in the making; `Session.turn_stream` makes it. Threads may share it.

    ::

        with session.turn_stream("assistant") as turn:
            for chunk in model.stream(…):
                turn.delta(chunk.text)

    Leaving the block records the turn whole, also with an exception: what was written until then is what a user saw.
    Pieces are best effort. They never wait: a thread of ours sends what has been written since, at most 20 times a
    second, and what it cannot send is not sent. They are not part of the ledger; the turn is.
    """

    def __init__(self, session: Recorder, speaker: str, channel: Channel | None, **more: Any) -> None:
        self._session = session
        self._speaker = speaker
        self._channel = channel
        self._more = more
        self._lock = threading.Lock()
        self._written: dict[Part, list[str]] = {"CONTENT": [], "THINKING": []}
        self._unsent: list[tuple[Part, str]] = []
        self._pieces = 0
        self._index: int | None = None
        self._is_open = False

    @property
    def turn_index(self) -> int | None:
        """The turn's index; None before it has begun."""
        return self._index

    def start(self) -> Self:
        """Begin the turn without a block; then `end` is yours to call."""
        self._session.check()
        self._index = self._session.reserve_turn(self._speaker)
        self._is_open = True
        if self._channel is not None:
            self._channel.open(self)
        return self

    def delta(self, text: str) -> None:
        """Write a piece of the content. Raises SessionTerminated once the session was terminated."""
        self._write("CONTENT", text)

    def thinking_delta(self, text: str) -> None:
        """Write a piece of the thinking. Raises SessionTerminated once the session was terminated."""
        self._write("THINKING", text)

    def end(self) -> None:
        """Record the turn whole. A second end changes nothing."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        if self._channel is not None:
            self._channel.close(self)
        assert self._index is not None
        thinking = "".join(self._written["THINKING"]) or None
        content = "".join(self._written["CONTENT"])
        self._session.record_turn(self._index, self._speaker, content, thinking=thinking, **self._more)

    def unsent(self) -> list[Piece]:
        """Return what was written since this was called last, pieces of one part joined into one."""
        with self._lock:
            written, self._unsent = self._unsent, []
        pieces: list[Piece] = []
        for part, text in written:
            if pieces and pieces[-1]["kind"] == part:
                pieces[-1]["text"] += text
            else:
                index, self._pieces = self._pieces, self._pieces + 1
                pieces.append(Piece(turn_index=self._index, delta_index=index, kind=part, text=text))
        return pieces

    def _write(self, part: Part, text: str) -> None:
        self._session.check()
        with self._lock:
            self._written[part].append(text)
            if self._channel is not None:
                self._unsent.append((part, clean(text)))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.end()
