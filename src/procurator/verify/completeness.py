"""Missing sequence numbers, session by session. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from procurator.sequences import Runs, missing, observe
from procurator.verify.report import Report

NO_SESSION = "00000000-0000-0000-0000-000000000000"


class Sequences:
    """Feed it derived columns in the order of sessions; numbers are dense from 0 for each session and emitter."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._session = ""
        self._emitters: dict[str, Runs] = {}

    def feed(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take rows; those of one session must be together. Columns: session_id, emitter_id, sequence."""
        if "session_id" not in columns:
            return
        rows = zip(columns["session_id"], columns["emitter_id"], columns["sequence"], strict=True)
        for session, emitter, sequence in rows:
            name = session.hex() if isinstance(session, bytes) else str(session)
            if name != self._session:
                self.finish()
                self._session = name
            if sequence is not None:
                observe(self._emitters.setdefault(emitter, []), sequence)

    def finish(self) -> None:
        """Judge the session at hand."""
        for emitter, runs in self._emitters.items():
            if count := missing(runs):
                self._report.incomplete("sequence_numbers_missing", f"session {self._session} emitter {emitter}", count)
        self._emitters = {}
