"""When to sign. Pure: the time is passed in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SigningPolicy:
    """``news_s``: at most so long after the last epoch news is signed; ``heartbeat_s``: and this long without news.

    A heartbeat is an epoch like any other: its entry's time, covered by the signature, says when nothing had
    happened. Ten seconds are promised while there is news; half of that leaves room for a slow commit.
    """

    news_s: float = 5.0
    heartbeat_s: float = 60.0

    def due(self, since_epoch_s: float, news: bool) -> bool:
        """Whether an epoch should be written, ``since_epoch_s`` after the last one of this process."""
        return since_epoch_s >= (self.news_s if news else self.heartbeat_s)
