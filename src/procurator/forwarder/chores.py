"""IO: what an endpoint's owner asks for once: a test, a replay of dead letters, a back-fill.

Each returns the state as it is afterwards. Raises Away while history cannot be read: it is then done later.
"""

from dataclasses import replace

from procurator.clock import now_us
from procurator.forwarder.depot import Depot
from procurator.forwarder.journal import Change
from procurator.forwarder.post import Post
from procurator.forwarder.retry import Verdict, judge
from procurator.forwarder.shelf import unless_away
from procurator.topics import WEBHOOK_DEAD_LETTERS
from procurator.webhooks.endpoint import Endpoint, Request, RequestKind
from procurator.webhooks.state import Outcome, State


async def done(depot: Depot, post: Post, endpoint: Endpoint, state: State, request: Request) -> State:
    """Do what was asked for, and note that it is done."""
    match request.kind:
        case RequestKind.TEST:
            state = await _tested(post, endpoint, state, request)
        case RequestKind.REPLAY:
            state = await _replayed(depot, post, endpoint, state, request)
        case RequestKind.BACKFILL:
            state = await _gone_back(depot, state, request)
    known = {each.request_id for each in endpoint.requests}
    handled = tuple(each for each in state.handled if each in known)
    return replace(state, handled=(*handled, request.request_id))


async def _tested(post: Post, endpoint: Endpoint, state: State, request: Request) -> State:
    at_us = now_us()
    answer = await post.test(endpoint, request.request_id, at_us)
    taken = judge(answer.status) is Verdict.TAKEN
    outcome = Outcome(request.request_id, at_us, taken, answer.status, answer.message, answer.latency_ms)
    return replace(state, last_test=outcome)


async def _replayed(depot: Depot, post: Post, endpoint: Endpoint, state: State, request: Request) -> State:
    """Send dead letters again, in order, until one is not taken."""
    for letter in depot.letters_of(endpoint.endpoint_id):
        if request.sequence not in (None, letter.sequence):
            continue
        found = await unless_away(depot.history.entries(letter.entries))
        entries = [entry for entry in found if entry is not None]
        answer = await post.entries(endpoint, entries, letter.entries, letter.sequence)
        if judge(answer.status) is not Verdict.TAKEN:
            return replace(state, last_failure_at=now_us(), last_error=str(answer))
        depot.letters.pop(letter.key, None)
        await depot.journal.write(Change(WEBHOOK_DEAD_LETTERS, letter.key, None))
    return state


async def _gone_back(depot: Depot, state: State, request: Request) -> State:
    """Go back, never forward; a batch under way keeps its numbers, and leads back."""
    depot.window.forget()  # It has what may have been erased since; history leaves that out.
    if request.from_time is not None:
        back = await unless_away(depot.history.positions_at(request.from_time))
    else:
        back = {request.log_id or "": request.offset or 0}
    positions, ends = (
        {log_id: min(at, back.get(log_id, at)) for log_id, at in of.items()}
        for of in (state.positions, state.batch_ends)
    )
    return replace(state, positions=positions, batch_ends=ends)
