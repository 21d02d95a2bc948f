"""Logs of a component: to standard error, as lines for people or as JSON for machines (``PROCURATOR_LOG_FORMAT``)."""

import logging
from collections.abc import Iterable

import orjson

from procurator.clock import to_rfc3339

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """Every record as one line of JSON. What somebody sends cannot begin a line of its own: line breaks are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, logger and message, then a request's own fields."""
        line = {
            "time": to_rfc3339(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def to_stderr(as_json: bool, quiet: Iterable[str] = ("httpx",)) -> None:
    """Log what this process does from now on; of the loggers ``quiet`` warnings alone."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
