"""What talks to Kafka and to the registry is imported late, by our own threads: an agent's start need not wait for it.

A fork in the midst of an import would leave the child with a lock that nobody releases, and each further import of that
module would wait for ever. So a fork waits until the import is over.
"""

import os
import threading

_importing = threading.RLock()


def import_clients() -> None:
    """Import what `broker`, `control` and `delta_channel` use; from then on it is just there."""
    with _importing:
        import confluent_kafka  # noqa: F401

        import procurator.kafka
        import procurator.registry  # noqa: F401


os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)
