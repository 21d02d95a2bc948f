"""The SDK, the importers and the fleet simulator.

::

    from procurator.producers import Procurator

    with Procurator() as p, p.session(agent="support", user="ada") as s:
        s.turn("user", "Where is my parcel?")
        with s.model_call("openai", "gpt-4o") as call:
            call.complete(input_tokens=12, output_tokens=30)
        s.turn("assistant", "It is on its way.")

Importing this package is cheap on purpose: no pydantic, httpx or rich, and librdkafka only once something is sent.
"""

from procurator.producers.calls import ModelCall, ToolCall
from procurator.producers.client import Procurator
from procurator.producers.context import carry, current_session, extract, inject
from procurator.producers.errors import DeliveryFailed, SessionTerminated, TerminateSignal
from procurator.producers.json_text import JsonText
from procurator.producers.orders import ApprovalDecision, Signal
from procurator.producers.redaction import Pattern
from procurator.producers.session import Session
from procurator.producers.tools import tool

__all__ = [
    "ApprovalDecision",
    "DeliveryFailed",
    "JsonText",
    "ModelCall",
    "Pattern",
    "Procurator",
    "Session",
    "SessionTerminated",
    "Signal",
    "TerminateSignal",
    "ToolCall",
    "carry",
    "current_session",
    "extract",
    "inject",
    "tool",
]
