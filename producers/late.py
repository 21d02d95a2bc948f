"""What talks to Kafka and to the registry is imported late, by our own threads: an agent's start need not wait for it.

A fork in the midst of an import would leave the child with a lock that nobody releases, and each further import of that
module would wait for ever. So a fork waits until the import is over.
"""

import os
import threading
from contextlib import suppress
from functools import cache

from procurator.errors import UserError

_importing = threading.RLock()


def import_clients() -> None:
    """Import what `broker`, `control` and `delta_channel` use; from then on it is just there."""
    with _importing:
        _import_clients()


@cache
def _import_clients() -> None:
    from procurator.kafka import client_config
    from procurator.registry import Registry

    # Both import more when they are used for the first time; neither connects to anything yet.
    Registry("http://127.0.0.1").close()
    with suppress(UserError):  # Whoever connects is told.
        client_config("")


os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)
