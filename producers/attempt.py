"""One try to connect, beside everything else."""

import threading
from collections.abc import Callable

from procurator.producers.broker import Broker


class Attempt:
    """One try to connect, in a thread of its own: meanwhile the keeper serves the disk."""

    def __init__(self, connect: Callable[[], Broker]) -> None:
        self.broker: Broker | None = None
        self.error: Exception | None = None
        self._connect = connect
        self._thread = threading.Thread(target=self._run, name="procurator-connect", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # The interpreter is shutting down, and starts no threads any more.
            self._run()

    @property
    def over(self) -> bool:
        return self.broker is not None or self.error is not None

    def _run(self) -> None:
        try:
            self.broker = self._connect()
        # Whatever it is, a later try may go better; the reason is logged once.
        except Exception as error:  # noqa: BLE001
            self.error = error
