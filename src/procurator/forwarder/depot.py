"""What all couriers share."""

from collections.abc import Callable
from dataclasses import dataclass

from procurator.forwarder.batch import BatchPolicy
from procurator.forwarder.history import History
from procurator.forwarder.journal import Journal
from procurator.forwarder.retry import RetryPolicy
from procurator.forwarder.sender import Sender
from procurator.forwarder.window import Window
from procurator.webhooks.endpoint import Endpoint
from procurator.webhooks.state import DeadLetter
from procurator.webhooks.vault import Vault


@dataclass(frozen=True)
class Depot:
    """``letters`` has the dead letters of every endpoint by key; ``sender`` makes one for an endpoint."""

    window: Window
    history: History
    journal: Journal
    vault: Vault
    letters: dict[str, DeadLetter]
    sender: Callable[[Endpoint], Sender]
    batches: BatchPolicy
    retries: RetryPolicy

    def letters_of(self, endpoint_id: str) -> list[DeadLetter]:
        """Return an endpoint's dead letters, by their numbers."""
        own = [letter for letter in self.letters.values() if letter.endpoint_id == endpoint_id]
        return sorted(own, key=lambda letter: letter.sequence)
