"""Where the time goes between the event that breaks a budget and the word to its runtime, by what Kafka has of both.

*to_kafka*: from the call in the agent until Kafka stamped the event. *to_decision*: until a stream processor decided:
fetched, folded, summed, judged. *to_runtime*: until the runtime was told: sent, fetched by the SDK, handed over.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.bench import recount
from procurator.deploy.embedded.stack import Stack
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS


class Probe(NamedTuple):
    """A session whose last call broke its budget: when that was recorded, and when it was told, in Unix time."""

    session_id: str
    begun_s: float
    told_s: float


def stages(stack: Stack, probes: Iterable[Probe]) -> Mapping[str, list[float]]:
    """Return the seconds of each stage, by its name, over the probes; Kafka's clock is that of this machine."""
    fetch = Registry(stack.registry_url).fetch
    by_id = {probe.session_id.encode(): probe for probe in probes}
    signal_of, event_of = (Decoder(load_schema(topic.schema), fetch).decode for topic in (CONTROL, SESSION_EVENTS))
    decided_s = {
        message.key(): signal_of(message.value())["requested_at"] / 1e6
        for message in recount.read_to_end(stack.kafka, CONTROL.name)
        if message.key() in by_id
    }
    found: dict[str, list[float]] = {"to_kafka": [], "to_decision": [], "to_runtime": []}
    for message in recount.read_to_end(stack.kafka, SESSION_EVENTS.name):
        probe = by_id.get(message.key() or b"")
        if probe is None or event_of(message.value())["payload"][0] != events.MODEL_CALL_COMPLETED:
            continue
        in_kafka_s, at_s = message.timestamp()[1] / 1000, decided_s[message.key()]
        found["to_kafka"].append(in_kafka_s - probe.begun_s)
        found["to_decision"].append(at_s - in_kafka_s)
        found["to_runtime"].append(probe.told_s - at_s)
    return found
