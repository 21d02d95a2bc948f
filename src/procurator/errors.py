"""Errors are behaviours: what the caller does next follows from the type.

::

    ProcuratorError
    ├── UserError          one clear line for whoever typed it; exit code 2
    ├── Rejected           this record can never be processed: dead letter, go on
    ├── Backpressure       too much at once: pause, then go on
    ├── Unavailable        a neighbour is away: wait and try again, lose nothing
    └── Fatal              going on would do harm: stop and say why
"""


class ProcuratorError(Exception):
    """The root of every error this project raises on purpose."""


class UserError(ProcuratorError):
    """Something a user can mend. The message says what, where and what to do, on one line."""


class Rejected(ProcuratorError):
    """A record that can never be processed.

    ``reason`` is one of a small fixed set of snake_case words (a metric label); the message is for people.
    """

    reason = "rejected"


class Backpressure(ProcuratorError):
    """A bounded queue is full; nothing was taken."""


class Unavailable(ProcuratorError):
    """A neighbour (Kafka, registry, ClickHouse) does not answer; the same call may succeed later."""


class Fatal(ProcuratorError):
    """An invariant does not hold; the process must stop rather than write."""
