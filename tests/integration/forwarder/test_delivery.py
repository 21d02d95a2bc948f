"""Webhooks, from Kafka to a receiver: what arrives, how it is signed, numbered, filtered, repeated, given up."""

import json
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.forwarder import history
from procurator.topics import AUDIT, CHECKPOINTS, SESSION_EVENTS
from procurator.webhooks.endpoint import AUDIT_EVENT, CHECKPOINT, SESSION_KINDS, Filter, Format, RequestKind
from procurator.webhooks.signature import new_secret, secret_bytes

pytestmark = pytest.mark.usefixtures("forwarder")


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["event"]["event_id"] for item in items]


def _arrived(until: Any, receiver: Any, path: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what came to ``path``, once it is all of ``records``; repeats removed, by number."""
    wanted = {record["event_id"] for record in records}
    until(lambda: wanted <= set(_ids(receiver.items(path))), f"of {len(wanted)}: {len(receiver.items(path))}")
    return list({item["sequence"]: item for item in receiver.items(path)}.values())


def test_entries_arrive_signed_numbered_and_in_the_order_of_their_session(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    secret = new_secret()
    endpoint = hooks.make(receiver.url(path), org, secret)
    until(lambda: hooks.publish(org, 1) and receiver.received.get(path))
    records = hooks.publish(org, 12)
    items = _arrived(until, receiver, path, records)
    for got in receiver.received[path]:
        assert Webhook(secret).verify(got.body, got.headers)["endpoint_id"] == endpoint.endpoint_id
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(got.body.replace(b"session", b"Session"), got.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new_secret()).verify(got.body, got.headers)
    assert [item["sequence"] for item in items] == list(range(len(items)))
    for session_id in {record["session_id"] for record in records}:
        sent = [record["event_id"] for record in records if record["session_id"] == session_id]
        assert [each for each in _ids(items) if each in sent] == sent
    assert {item["event"]["org_id"] for item in items} == {org}
    until(lambda: hooks.state(endpoint).delivered == len(items))


def test_the_formats_of_others(hooks: Any, receiver: Any, until: Any, org: str, path: str) -> None:
    vault = hooks.vault
    ocsf = hooks.make(receiver.url(path + "/ocsf"), org, format=Format.OCSF)
    endpoint_id = uuid4().hex[:16]
    secret = hooks.make(receiver.url(path), org).secrets
    sealed = replace(secret[0], sealed=vault.seal(secret_bytes(new_secret()), endpoint_id))
    hooks.make(
        receiver.url(path + "/hec"),
        org,
        format=Format.SPLUNK_HEC,
        endpoint_id=endpoint_id,
        secrets=(sealed,),
        token=vault.seal(b"the-token", endpoint_id),
    )
    records = hooks.publish(org, 2)
    events = until(lambda: _all(receiver, path + "/ocsf", json.loads, len(records)))
    assert [event["metadata"]["sequence"] for event in events] == list(range(len(records)))
    assert {event["metadata"]["uid"] for event in events} == {record["event_id"] for record in records}
    shown = until(lambda: _all(receiver, path + "/hec", _lines, len(records)))
    assert {line["event"]["event"]["event_id"] for line in shown} == {record["event_id"] for record in records}
    assert {got.headers["authorization"] for got in receiver.received[path + "/hec"]} == {"Splunk the-token"}
    assert hooks.state(ocsf).failures == 0


def _all(receiver: Any, path: str, read: Any, count: int) -> list[Any]:
    found = [item for got in list(receiver.received.get(path, ())) for item in read(got.body)]
    return found if len(found) >= count else []


def _lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def test_a_filter_lets_through_what_it_names(hooks: Any, receiver: Any, until: Any, org: str, path: str) -> None:
    kinds = frozenset({"SessionStarted", "SessionEnded"})
    hooks.make(receiver.url(path), org, filter=Filter(kinds, frozenset({"ours"}), frozenset({"mine"})))
    ledger = Filter(frozenset({AUDIT_EVENT, CHECKPOINT}))
    hooks.make(receiver.url(path + "/audit"), org, filter=ledger)
    hooks.publish(org, 1, owner_team_id="theirs", agent_id="mine")
    hooks.publish(org, 1, owner_team_id="ours", agent_id="another")
    hooks.publish(f"{org}-else", 1, owner_team_id="ours", agent_id="mine")
    wanted = hooks.publish(org, 2, owner_team_id="ours", agent_id="mine")
    event = hooks.audit(org)
    checkpoint = {"log_id": "l", "origin": org, "size": 1, "root": bytes(32), "note": "n", "signed_at": now_us()}
    hooks.send(CHECKPOINTS, "l", checkpoint)
    ends = [record for record in wanted if record["payload"][0].endswith(("SessionStarted", "SessionEnded"))]
    items = _arrived(until, receiver, path, ends)
    assert set(_ids(items)) == {record["event_id"] for record in ends}
    until(lambda: {item["kind"] for item in receiver.items(path + "/audit")} == {AUDIT_EVENT, CHECKPOINT})
    audited = [item["event"] for item in receiver.items(path + "/audit") if item["kind"] == AUDIT_EVENT]
    assert [each["event_id"] for each in audited] == [event["event_id"]]


def test_a_rotated_secret_signs_beside_the_old_one_until_that_ends(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    old, new = new_secret(), new_secret()
    endpoint = hooks.make(receiver.url(path), org, old)
    sealed = hooks.vault.seal(secret_bytes(new), endpoint.endpoint_id)
    rotated = hooks.put(endpoint.rotated(sealed, 3_600_000_000, "t", now_us()))
    hooks.ask(rotated, RequestKind.TEST)
    over = hooks.put(rotated.rotated(sealed, 0, "t", now_us()))
    hooks.ask(over, RequestKind.TEST)
    both, last = receiver.received[path]
    for secret in (old, new):
        assert Webhook(secret).verify(both.body, both.headers)["type"] == "procurator.test"
    Webhook(new).verify(last.body, last.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(last.body, last.headers)


def test_what_fails_comes_again_with_the_same_id_and_numbers(
    hooks: Any, receiver: Any, status: Any, until: Any, org: str, path: str
) -> None:
    receiver.acts[path] = [status(500), status(503), status(302, Location=receiver.url("/elsewhere")), status(429)]
    hooks.make(receiver.url(path), org)
    records = hooks.publish(org, 1)
    _arrived(until, receiver, path, records)
    until(lambda: len(receiver.received[path]) >= 5)
    tries = receiver.received[path][:5]
    assert len({got.headers["webhook-id"] for got in tries[:4]}) == 1
    assert len({got.body for got in tries[:4]}) == 1
    assert tries[4].items[0]["sequence"] == 0
    assert "/elsewhere" not in receiver.received, "a redirection is not followed"


def test_it_waits_as_long_as_the_receiver_asks_for(
    hooks: Any, receiver: Any, status: Any, until: Any, org: str, path: str
) -> None:
    receiver.acts[path] = [status(429, Retry_After="1")]
    hooks.make(receiver.url(path), org)
    hooks.publish(org, 1)
    first, second = until(lambda: receiver.received.get(path, [])[:2][1:] and receiver.received[path][:2])
    assert second.at_s - first.at_s >= 0.99


def test_gone_stops_it_until_it_is_changed(
    hooks: Any, receiver: Any, status: Any, until: Any, org: str, path: str
) -> None:
    receiver.acts[path] = [status(410)]
    endpoint = hooks.make(receiver.url(path), org)
    records = hooks.publish(org, 1)
    until(lambda: hooks.state(endpoint).stopped_revision == 0)
    assert "410" in hooks.state(endpoint).stopped_reason
    assert len(receiver.received[path]) == 1
    hooks.put(endpoint.changed("t", now_us()))
    items = _arrived(until, receiver, path, records)
    assert [item["sequence"] for item in items] == list(range(len(records)))


def test_one_entry_that_is_refused_becomes_a_dead_letter_alone_and_is_replayed_under_its_number(
    hooks: Any, receiver: Any, status: Any, until: Any, org: str, path: str
) -> None:
    records = hooks.publish(org, 2)
    culprit = records[5]["event_id"]
    receiver.judges[path] = lambda got: status(422) if culprit.encode() in got.body else None
    endpoint = hooks.make(receiver.url(path), org, created_at=now_us() - 60_000_000)
    (letter,) = until(lambda: hooks.letters_of(endpoint))
    assert (letter.status, letter.attempts, len(letter.entries), len(letter.entries[0].offsets)) == (422, 3, 1, 1)
    taken = [got for got in receiver.received[path] if culprit.encode() not in got.body]
    until(lambda: hooks.state(endpoint).delivered == len(records) - 1)
    numbers = {item["sequence"] for got in receiver.received[path] for item in got.items}
    assert numbers == set(range(len(records)))
    assert letter.sequence not in {item["sequence"] for got in taken for item in got.items}, "the receiver sees a gap"
    del receiver.judges[path]
    hooks.ask(endpoint, RequestKind.REPLAY)
    until(lambda: not hooks.letters_of(endpoint))
    again = receiver.received[path][-1].items
    assert [(item["sequence"], item["event"]["event_id"]) for item in again] == [(letter.sequence, culprit)]


def test_a_receiver_that_hangs_or_trickles_is_cut_off_and_delays_nobody(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    let_go = threading.Event()

    def hang(_handler: Any) -> None:
        let_go.wait(60)

    def trickle(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        while not let_go.wait(0.1):
            handler.wfile.write(b".")

    receiver.judges[path + "/hang"] = lambda _got: hang
    receiver.judges[path + "/trickle"] = lambda _got: trickle
    slow = [hooks.make(receiver.url(path + bad), org) for bad in ("/hang", "/trickle")]
    hooks.make(receiver.url(path), org)
    _arrived(until, receiver, path, hooks.publish(org, 2))
    until(lambda: all("no whole answer within 5 s" in (hooks.state(each).last_error or "") for each in slow))
    let_go.set()
    for each in slow:
        hooks.remove(each)


def test_success_is_the_status_alone_and_a_long_answer_is_not_read_to_its_end(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(10**12))
        handler.end_headers()
        handler.wfile.write(b"<h1>An error, really</h1>" + b" " * 200_000)

    receiver.acts[path] = [page]
    endpoint = hooks.make(receiver.url(path), org)
    test = hooks.ask(endpoint, RequestKind.TEST).last_test
    assert (test.succeeded, test.status) == (True, 200)
    assert test.message.startswith("<h1>An error")


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.2", "169.254.169.254", "::1", "::ffff:10.0.0.1", "0.0.0.0"])
def test_a_private_address_is_not_connected_to(hooks: Any, names: Any, org: str, address: str) -> None:
    host = f"{uuid4().hex}.example"
    names.answers[host] = [address]
    test = hooks.ask(hooks.make(f"https://{host}/", org), RequestKind.TEST).last_test
    assert (test.succeeded, test.status) == (False, None)
    assert "private address" in test.message


def test_a_name_that_becomes_private_is_looked_at_again_with_each_connection(
    hooks: Any, receiver: Any, names: Any, org: str, path: str
) -> None:
    """The address that was checked is the one that is connected to; the next connection is checked anew."""
    host = f"{uuid4().hex}.example"
    names.answers[host] = ["127.0.0.1", "10.1.2.3"]

    def close(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.send_header("content-length", "0")
        handler.end_headers()
        handler.close_connection = True

    receiver.acts[path] = [close]
    endpoint = hooks.make(f"http://{host}:{receiver.port}{path}", org)
    assert hooks.ask(endpoint, RequestKind.TEST).last_test.succeeded
    assert names.asked.count(host) == 1
    test = hooks.ask(endpoint, RequestKind.TEST).last_test
    assert "is a private address" in test.message
    assert "10.1.2.3" not in test.message, "what names resolve to is not for whoever defines webhooks"
    assert len(receiver.received[path]) == 1


def test_the_certificate_must_be_of_the_name(hooks: Any, secure_receiver: Any, names: Any, org: str, path: str) -> None:
    good = hooks.ask(hooks.make(secure_receiver.url(path, "https"), org), RequestKind.TEST).last_test
    assert good.succeeded, good.message
    other = f"https://other.example:{secure_receiver.port}{path}"
    bad = hooks.ask(hooks.make(other, org), RequestKind.TEST).last_test
    assert not bad.succeeded
    assert "Hostname mismatch" in bad.message
    assert len(secure_receiver.received[path]) == 1
    assert "other.example" in names.asked


def test_who_falls_behind_gets_everything_in_order_while_others_go_on(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    """Four times what the window holds."""
    endpoint = hooks.make(receiver.url(path), org, enabled=False)
    records = hooks.publish(org, 60)
    assert len(records) > 700
    hooks.put(endpoint.changed("t", now_us(), enabled=True))
    items = _arrived(until, receiver, path, records)
    assert [item["sequence"] for item in items] == list(range(len(records)))
    for session_id in {record["session_id"] for record in records}:
        sent = [record["event_id"] for record in records if record["session_id"] == session_id]
        assert [each for each in _ids(items) if each in sent] == sent


def test_a_back_fill_delivers_again_from_a_time_or_a_place(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    hooks.publish(org, 1)
    at_us = now_us() + 1_000  # Kafka's times are whole ms: neither of what was before nor of what comes
    until(lambda: now_us() > at_us + 1_000)
    records = hooks.publish(org, 2)
    endpoint = hooks.make(receiver.url(path), org, filter=Filter(frozenset(SESSION_KINDS)))
    state = hooks.ask(endpoint, RequestKind.BACKFILL, from_time=at_us)
    first = _arrived(until, receiver, path, records)
    assert [item["sequence"] for item in first] == list(range(len(records)))
    last = first[-1]
    until(lambda: hooks.state(endpoint).delivered == len(records))
    state = hooks.ask(endpoint, RequestKind.BACKFILL, log_id=last["log_id"], offset=last["offset"])
    until(lambda: hooks.state(endpoint).delivered > len(records))
    again = receiver.items(path)[len(records) :]
    assert again[0]["sequence"] == len(records), "under new numbers"
    assert last["event"]["event_id"] in _ids(again)
    assert state.stopped_revision is None


def test_a_deleted_endpoint_leaves_nothing_behind(hooks: Any, receiver: Any, until: Any, org: str, path: str) -> None:
    endpoint = hooks.make(receiver.url(path), org)
    hooks.ask(endpoint, RequestKind.TEST)
    hooks.remove(endpoint)
    until(lambda: endpoint.endpoint_id not in hooks.states)


def test_secrets_of_another_key_hold_the_endpoint_up_and_say_so(
    hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    endpoint = hooks.make(receiver.url(path), org)
    broken = replace(endpoint.secrets[0], sealed=b"nonsense that nobody sealed")
    hooks.put(endpoint.changed("t", now_us(), secrets=(broken,)))
    hooks.publish(org, 1)
    reason = until(lambda: hooks.state(endpoint).last_error)
    assert "another PROCURATOR_WEBHOOK_KEY" in reason
    assert path not in receiver.received
    hooks.put(endpoint.changed("t", now_us(), secrets=endpoint.secrets))
    until(lambda: path in receiver.received)


def test_what_kafka_has_deleted_comes_from_the_ledger(
    settings: Any, hooks: Any, receiver: Any, until: Any, org: str, path: str
) -> None:
    """A back-fill from before Kafka's start; the ledger's rows are as the sink writes them."""
    events = [hooks.audit(org) for _ in range(3)]
    place, records = hooks.read(AUDIT, {event["event_id"] for event in events})
    hooks.keep_in_ledger(settings, place, records)
    hooks.delete_up_to(place, records[-1][0])
    endpoint = hooks.make(receiver.url(path), org, filter=Filter(frozenset({AUDIT_EVENT})))
    hooks.ask(endpoint, RequestKind.BACKFILL, log_id=hooks.log_id(place), offset=records[0][0])
    until(lambda: len(receiver.items(path)) >= 3, "the ledger's entries did not come")
    assert _ids(receiver.items(path)) == [event["event_id"] for event in events]
    by_time = hooks.make(receiver.url(path + "/time"), org, filter=Filter(frozenset({AUDIT_EVENT})))
    hooks.ask(by_time, RequestKind.BACKFILL, from_time=records[0][1])
    until(lambda: len(receiver.items(path + "/time")) >= 3, "the ledger's entries did not come")
    assert _ids(receiver.items(path + "/time")) == [event["event_id"] for event in events]


def test_a_back_fill_leaves_out_what_was_erased_or_purged(
    settings: Any, hooks: Any, receiver: Any, until: Any, org: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka and the window still have it; the ledger says that it was forgotten."""
    monkeypatch.setattr(history, "_YOUNG_US", 0)
    from_us = now_us() - 1_000
    erased, purged, kept = (hooks.publish(org, 1) for _ in range(3))
    ends = {}
    with closing(ClickHouse.of(settings)) as clickhouse:
        for records, value in ((erased, "NULL"), (kept, "'here'")):
            place, stored = hooks.read(SESSION_EVENTS, {record["event_id"] for record in records})
            ends[hooks.log_id(place)] = stored[-1][0]
            for offset, time_us, _ in stored:
                clickhouse.execute(
                    "INSERT INTO events (session_id, log_id, offset, broker_time, value) SELECT"
                    f" '{records[0]['session_id']}', '{hooks.log_id(place)}', {offset},"
                    f" fromUnixTimestamp64Micro({time_us}), {value}"
                )
        body = json.dumps({"session_ids": [purged[0]["session_id"]]})
        clickhouse.execute(
            f"INSERT INTO ledger_control (log_id, offset, kind, body) SELECT 'c:0', 0, 'Purge', '{body}'"
        )
    place, stored = hooks.read(SESSION_EVENTS, {record["event_id"] for record in purged})
    ends[hooks.log_id(place)] = max(stored[-1][0], ends.get(hooks.log_id(place), 0))
    endpoint = hooks.make(receiver.url(path), org)
    hooks.ask(endpoint, RequestKind.BACKFILL, from_time=from_us)
    until(lambda: all(hooks.state(endpoint).positions[log_id] > end for log_id, end in ends.items()))
    assert _ids(receiver.items(path)) == [record["event_id"] for record in kept]
