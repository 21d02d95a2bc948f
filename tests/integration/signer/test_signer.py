"""The signer on a real Kafka: what it signs, what it survives and what it refuses."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Consumer, TopicPartition

from procurator.avro_schemas.codec import load_schema
from procurator.checkpoint import Checkpoint, Signer, open_checkpoint
from procurator.checkpoint_file import read_checkpoints
from procurator.control_entries import EPOCH, KEY_ROTATION
from procurator.errors import Fatal, Unavailable
from procurator.kafka import Topics, consumer_config
from procurator.key_files import load_signer, load_verifier, next_path, prepare_next, public_path
from procurator.leaf import leaf_hashes, log_id
from procurator.ledger_name import origin_of
from procurator.merkle import root_hash
from procurator.registry import Registry
from procurator.signer import entries
from procurator.signer.requests import ask
from procurator.signer.state import parse
from procurator.signer.trees import Inconsistent
from procurator.signer.worker import SignerConfig, SignerWorker
from procurator.topics import AUDIT, LEDGER_CONTROL, SESSION_EVENTS

Publish = Callable[..., None]


Recreate = Callable[[str], None]


def step_for_ever(worker: SignerWorker, before: Callable[[], None] = lambda: None) -> None:
    while True:
        before()
        worker.step()


def never() -> bool:
    return False


@contextmanager
def signing(config: SignerConfig) -> Iterator[SignerWorker]:
    worker = SignerWorker(config, never)
    try:
        worker.open()
        yield worker
    finally:
        worker.close()


def sign_until(worker: SignerWorker, config: SignerConfig, **sizes: int) -> None:
    """Step until an epoch says these sizes: topic's partition 0 by the topic's short name."""
    names = {"events": SESSION_EVENTS.name, "audit": AUDIT.name}
    while True:
        worker.step()
        logs = parse(config.state_file.read_text(), "state").logs
        ids = {
            name: log_id(Topics(config.bootstrap_servers).describe([names[name]])[names[name]][0], 0) for name in sizes
        }
        if all(logs[ids[name]].size == size for name, size in sizes.items()):
            return


def control_root(config: SignerConfig) -> tuple[int, str, bytes]:
    """Size, origin and root of the control log, computed from a topic consumer by the book."""
    control = log_id(Topics(config.bootstrap_servers).describe([LEDGER_CONTROL.name])[LEDGER_CONTROL.name][0], 0)
    consumer = Consumer(consumer_config(config.bootstrap_servers, "auditor", **{"enable.partition.eof": True}))
    consumer.assign([TopicPartition(LEDGER_CONTROL.name, 0, 0)])
    messages = []
    while (message := consumer.poll(60)) is not None and message.error() is None:
        messages.append(message)
    consumer.close()
    assert message is not None, "Kafka does not answer"
    times = [message.timestamp()[1] * 1000 for message in messages]
    columns = ([m.offset() for m in messages], times, [m.key() for m in messages], [m.value() for m in messages])
    return len(messages), origin_of(control), root_hash(leaf_hashes(control, 0, *columns))


def checkpoints(config: SignerConfig) -> list[Checkpoint]:
    _, origin, _ = control_root(config)
    verifier = load_verifier(public_path(config.key_file))
    return [open_checkpoint(note, origin, [verifier]) for note in read_checkpoints(config.checkpoints_file)]


def test_a_checkpoint_commits_to_the_control_log_as_an_auditor_reads_it(config: SignerConfig, publish: Publish) -> None:
    publish(SESSION_EVENTS.name, b"one", b"two", None)
    publish(AUDIT.name, b"three")
    with signing(config) as worker:
        sign_until(worker, config, events=3, audit=1)
    size, origin, root = control_root(config)
    assert checkpoints(config)[-1] == Checkpoint(origin, size, root)
    assert config.key_file.stat().st_mode & 0o777 == 0o600
    assert (config.folder.stat().st_mode & 0o777) == 0o700


def test_a_restart_goes_on_and_every_checkpoint_is_a_prefix_of_the_next(config: SignerConfig, publish: Publish) -> None:
    for round_ in range(3):
        publish(SESSION_EVENTS.name, *[b"value"] * (round_ + 1))
        with signing(config) as worker:
            sign_until(worker, config, events=sum(range(round_ + 2)))
    sizes = [checkpoint.size for checkpoint in checkpoints(config)]
    assert sizes == sorted(set(sizes))


def test_what_was_committed_but_not_signed_is_signed_after_a_restart(
    config: SignerConfig, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(SESSION_EVENTS.name, b"one")
    with signing(config) as worker:
        sign_until(worker, config, events=1)
        publish(SESSION_EVENTS.name, b"two")
        monkeypatch.setattr(worker, "_sign", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sign_until(worker, config, events=2)
    before = len(checkpoints(config))
    with signing(config):
        pass
    signed = checkpoints(config)
    assert len(signed) == before + 1
    assert signed[-1].size == control_root(config)[0]


def test_a_torn_checkpoint_at_the_end_of_the_file_is_cut_off(config: SignerConfig, publish: Publish) -> None:
    publish(SESSION_EVENTS.name, b"one")
    with signing(config) as worker:
        sign_until(worker, config, events=1)
    whole = config.checkpoints_file.read_bytes()
    config.checkpoints_file.write_bytes(whole + whole[:50])
    with signing(config):
        pass
    assert config.checkpoints_file.read_bytes().startswith(whole)
    assert checkpoints(config)


def test_a_signer_may_be_closed_as_soon_as_it_is_open(config: SignerConfig, publish: Publish) -> None:
    publish(SESSION_EVENTS.name, b"one")
    with signing(config) as worker:
        sign_until(worker, config, events=1)
    signed = len(checkpoints(config))
    for _ in range(8):  # It aborted the process once in ten times, while it assigned partitions anew.
        with signing(config):
            pass
    assert len(checkpoints(config)) == signed


def test_a_new_signer_fences_the_old_one(config: SignerConfig, publish: Publish) -> None:
    with signing(config) as old:
        sign_until(old, config, events=0)
        with signing(config) as new:
            new.step()
            publish(SESSION_EVENTS.name, b"one")
            with pytest.raises((Fatal, Unavailable)):
                step_for_ever(old)
            sign_until(new, config, events=1)


def test_a_strangers_entry_in_the_control_log_is_never_signed(config: SignerConfig, publish: Publish) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
        publish(LEDGER_CONTROL.name, b"not ours")
        with pytest.raises(Inconsistent, match=r"offset \d+ of the control log is no entry of ours"):
            step_for_ever(worker)


def test_a_forged_entry_is_refused_although_it_decodes(config: SignerConfig, publish: Publish) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    forged = entries.entry(str(UUID(int=15)), 0, str(UUID(int=7)), EPOCH, {"heads": []})
    schema = load_schema("ledger_control")
    registry = Registry(config.registry_url)
    publish(LEDGER_CONTROL.name, schema.encode(forged, registry.schema_id(schema)))
    registry.close()
    with pytest.raises(Inconsistent, match="was not written by this signer"), signing(config):
        pass


def test_recreated_events_make_another_log_and_the_old_head_stays(
    config: SignerConfig, publish: Publish, recreate: Recreate
) -> None:
    publish(SESSION_EVENTS.name, b"one")
    with signing(config) as worker:
        sign_until(worker, config, events=1)
        old = parse(config.state_file.read_text(), "state").logs
        recreate(SESSION_EVENTS.name)
        with pytest.raises(Unavailable):
            step_for_ever(worker, before=lambda: publish(AUDIT.name, b"news"))
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    new = parse(config.state_file.read_text(), "state").logs
    assert old.keys() < new.keys()


def test_a_recreated_control_topic_is_another_ledger(config: SignerConfig, recreate: Recreate) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    recreate(LEDGER_CONTROL.name)
    with pytest.raises(Inconsistent, match="the topic was recreated"), signing(config):
        pass


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda log: log.update(root="00" * 32), "its root does not fit its frontier"),
        (lambda log: log.update(frontier=[]), "frontier of 2 leaves has 1 hashes, not 0"),
        (lambda log: log.update(frontier=["11" * 32], root="11" * 32), "refusing to sign"),
        (lambda log: log.update(size=4), "but 4 were signed before"),
        (lambda log: log.update(next_offset=9), "ends at offset 2, but records up to 8 were signed"),
    ],
)
def test_a_changed_state_is_refused(
    config: SignerConfig, publish: Publish, change: Callable[[dict[str, object]], None], says: str
) -> None:
    publish(SESSION_EVENTS.name, b"one", b"two")
    with signing(config) as worker:
        sign_until(worker, config, events=2)
    state = json.loads(config.state_file.read_text())
    (log,) = (log for log in state["logs"].values() if log["size"] == 2)
    change(log)
    config.state_file.write_text(json.dumps(state))
    with pytest.raises(Fatal, match=says), signing(config):
        pass


def test_a_lost_state_is_recomputed_from_kafka_and_the_checkpoints(config: SignerConfig, publish: Publish) -> None:
    publish(SESSION_EVENTS.name, b"one", b"two")
    with signing(config) as worker:
        sign_until(worker, config, events=2)
    config.state_file.unlink()
    publish(SESSION_EVENTS.name, b"three")
    with signing(config) as worker:
        sign_until(worker, config, events=3)
    assert checkpoints(config)[-1].size == control_root(config)[0]


def test_lost_checkpoints_are_not_signed_over(config: SignerConfig, publish: Publish) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    config.checkpoints_file.unlink()
    with pytest.raises(Inconsistent, match="is gone or empty"), signing(config):
        pass
    config.state_file.unlink()
    with pytest.raises(Inconsistent, match="was not written by this signer"), signing(config):
        pass
    with signing(replace(config, adopt=True)) as worker:
        sign_until(worker, config, events=0)


def test_rotation_is_signed_by_both_keys_once_then_by_the_new_one(config: SignerConfig, publish: Publish) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
        old = load_signer(config.key_file).verifier
        new = prepare_next(config.key_file).verifier
        payload = {"old_key": str(old), "new_key": str(new), "revoked": False, "reason": "yearly"}
        ask(config.requests_folder, KEY_ROTATION, payload)
        while next_path(config.key_file).exists():
            worker.step()
        publish(SESSION_EVENTS.name, b"one")
        sign_until(worker, config, events=1)
    origin = control_root(config)[1]
    *_, both, last = read_checkpoints(config.checkpoints_file)
    assert open_checkpoint(both, origin, [old]) == open_checkpoint(both, origin, [new])
    assert open_checkpoint(last, origin, [new])
    assert not list(config.requests_folder.iterdir())
    assert load_verifier(public_path(config.key_file)) == new


def test_a_key_of_another_ledger_does_not_open_the_checkpoints(config: SignerConfig) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    config.key_file.write_text(Signer.generate("other").secret_text())
    state = json.loads(config.state_file.read_text())
    state["verifier_keys"] = []
    config.state_file.write_text(json.dumps(state))
    with pytest.raises(Exception, match="not signed by any known key"), signing(config):
        pass


def test_a_malformed_request_is_put_aside(config: SignerConfig) -> None:
    config.requests_folder.mkdir(parents=True)
    (config.requests_folder / "1.json").write_text("{}")
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    assert [path.name for path in config.requests_folder.iterdir()] == ["1.refused"]


def test_checkpoints_are_published(config: SignerConfig, tmp_path: Path) -> None:
    with signing(config) as worker:
        sign_until(worker, config, events=0)
    consumer = Consumer(consumer_config(config.bootstrap_servers, "reader"))
    consumer.assign([TopicPartition("procurator.ledger.checkpoints.v1", 0, 0)])
    message = consumer.poll(60)
    consumer.close()
    assert message is not None
    assert next(read_checkpoints(config.checkpoints_file)) in message.value()
