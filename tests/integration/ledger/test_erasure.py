"""Erasing a session on a real ledger: by a signed entry it verifies as erased; under a hold nothing is asked for."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from procurator.erasure import Erasures
from procurator.errors import UserError
from procurator.verify.report import Report, Verdict
from procurator.verify.seal import Sealer
from procurator.verify.source import LedgerSource


@pytest.fixture
def erasures(ledger: Any) -> Iterator[Erasures]:
    clickhouse = ledger.clickhouse()
    yield Erasures(clickhouse, ledger.desk(clickhouse))
    clickhouse.close()


def test_hold_release_erase(ledger: Any, erasures: Erasures, verified: Callable[..., Report]) -> None:
    clickhouse = ledger.clickhouse()
    ((session_id, entries),) = clickhouse.rows(
        "SELECT toString(session_id), count() FROM events WHERE session_id IN"
        " (SELECT session_id FROM events WHERE kind = 'SessionEnded') GROUP BY 1 ORDER BY 1 LIMIT 1"
    )
    hold_id = erasures.hold("acme", [session_id], "counsel", "lawsuit")
    with pytest.raises(UserError, match="is under a legal hold"):
        erasures.erase([session_id], "the session", "officer", "article 17")
    erasures.release(hold_id, "counsel", "settled")
    done = erasures.erase([session_id], "the session", "officer", "article 17")
    assert done.entries == entries
    ledger.await_signed(entries)
    report = verified(clickhouse)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["entries_erased"] == entries
    assert clickhouse.rows(f"SELECT count() FROM events WHERE session_id = '{session_id}' AND value IS NOT NULL") == [
        [0]
    ]

    with pytest.raises(UserError, match="was erased"):
        Sealer(LedgerSource(clickhouse)).seal(UUID(session_id), ledger.notes)
    assert erasures.resume() == 1
    assert verified(clickhouse).verdict is Verdict.SOUND
    clickhouse.close()
