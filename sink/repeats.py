"""Which events repeat an earlier one: the runs of recent sessions in memory, of all others in the ledger.

One log's memory is the fold of all its records before a position; going back to an earlier position needs a fresh one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from procurator.events import SessionEvent
from procurator.sequences import Runs, observe

#: Emitter → runs of seen sequence numbers.
Emitters = dict[str, Runs]
#: (offset, session ids) → the emitters and sequences that the ledger has of them before that offset.
AskLedger = Callable[[int, Sequence[str]], Mapping[str, Mapping[str, Iterable[int]]]]

SESSIONS_MAX = 50_000


class Repeats:
    """Repeats of one log. ``ask`` is called for sessions that are not in memory, all of a batch at once."""

    def __init__(self, ask: AskLedger, sessions_max: int = SESSIONS_MAX) -> None:
        self._ask = ask
        self._sessions_max = sessions_max
        # Least recently seen first, each with the number of its last batch.
        self._sessions: OrderedDict[str, tuple[int, Emitters]] = OrderedDict()
        self._batch = 0
        self._first_offset = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, first_offset: int, session_ids: Iterable[str]) -> None:
        """Begin a batch of records from ``first_offset`` on, of which probably these sessions are.

        Every record before that offset has been observed or is in the ledger.
        """
        self._batch += 1
        self._first_offset = first_offset
        self._load(session_ids)

    def observe(self, events: Sequence[SessionEvent]) -> list[bool]:
        """Note the next events of the batch, by offset, and tell of each whether it repeats an earlier one."""
        self._load({event["session_id"]: None for event in events})
        sessions = self._sessions
        repeated = []
        for event in events:
            emitters = sessions[event["session_id"]][1]
            runs = emitters.get(event["emitter_id"])
            if runs is None:
                runs = emitters[event["emitter_id"]] = []
            repeated.append(observe(runs, event["sequence"]))
        return repeated

    def forget(self, landed_batches: int) -> None:
        """Drop the sessions seen longest ago beyond the limit.

        Only the first ``landed_batches`` batches are in the ledger: a session seen since must stay, the ledger could
        not tell of it yet.
        """
        while len(self._sessions) > self._sessions_max:
            session_id, (batch, _) = next(iter(self._sessions.items()))
            if batch > landed_batches:
                return
            del self._sessions[session_id]

    def _load(self, session_ids: Iterable[str]) -> None:
        unknown = []
        for session_id in session_ids:
            known = self._sessions.get(session_id)
            if known is None:
                unknown.append(session_id)
            elif known[0] != self._batch:
                self._sessions[session_id] = (self._batch, known[1])
                self._sessions.move_to_end(session_id)
        if not unknown:
            return
        found = self._ask(self._first_offset, unknown)
        for session_id in unknown:
            emitters: Emitters = {}
            for emitter_id, sequences in found.get(session_id, {}).items():
                runs = emitters[emitter_id] = []
                for sequence in sorted(sequences):
                    observe(runs, sequence)
            self._sessions[session_id] = (self._batch, emitters)
