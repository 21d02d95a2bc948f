"""IO: the retention of the embedded stack: once a day, until told to stop.

When the last run was stands in a file, so that a restart runs nothing twice. A run that could not be made is tried
again soon; a ledger that is not sound is looked at again the next day, and nothing goes from it.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from procurator import metrics
from procurator.clock import now_us
from procurator.errors import Fatal, ProcuratorError
from procurator.private_files import replace_file
from procurator.retention.policy import DAY_US
from procurator.retention.run import Done
from procurator.runtime import Stop

log = logging.getLogger(__name__)

#: After the start, when everything else has something to do.
FIRST_S = 60.0
AGAIN_S = 300.0


def serve(stop: Stop, state: Path, once: Callable[[], Done]) -> None:
    """Run ``once`` every day; ``state`` keeps when the last run was."""
    pause_s = FIRST_S
    while not stop.wait(pause_s):
        pause_s = AGAIN_S
        if now_us() - last_run_us(state) < DAY_US:
            continue
        started_us = now_us()
        try:
            done = once()
            metrics.PURGED_SESSIONS.inc(done.sessions)
            log.info("retention: %d sessions in %d purges; %d finished", done.sessions, done.purges, done.resumed)
        except Fatal as error:
            metrics.RETENTION_FAILURES.inc()
            log.error("retention: %s", error)
        except ProcuratorError as error:
            metrics.RETENTION_FAILURES.inc()
            log.warning("retention: %s; trying again in %d s", error, AGAIN_S)
            continue
        metrics.RETENTION_TIME.set_to_current_time()
        replace_file(state, json.dumps({"last_run_us": started_us}).encode())


def last_run_us(state: Path) -> int:
    """Return when the last run began, 0 when there was none."""
    try:
        return int(json.loads(state.read_text("utf-8"))["last_run_us"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
