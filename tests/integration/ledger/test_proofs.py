"""What the API proves to an outsider, and what it keeps to itself."""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from procurator.access import Scope
from procurator.checkpoint import open_checkpoint
from procurator.errors import UserError
from procurator.merkle import verify_consistency, verify_inclusion
from procurator.verify.bundle import verify_bundle
from procurator.verify.report import Verdict
from procurator.verify.seal import Sealer
from procurator.verify.source import LedgerSource
from procurator.verify.trust import claimed


@pytest.fixture
def api(ledger: Any) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {ledger.stack.admin_key}"}
    with httpx.Client(base_url=ledger.stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def event(ledger: Any) -> list[Any]:
    """Event id and session id of an event whose session is whole."""
    clickhouse = ledger.clickhouse()
    (row,) = clickhouse.rows(
        "SELECT event_id, session_id FROM events WHERE kind = 'SessionEnded' AND value IS NOT NULL"
        " ORDER BY offset LIMIT 1"
    )
    clickhouse.close()
    return list(row)


def test_a_seal_from_the_api_verifies_offline(ledger: Any, api: httpx.Client, event: list[Any]) -> None:
    response = api.get(f"/v1/sessions/{event[1]}/seal")
    assert response.status_code == 200, response.text
    report = verify_bundle(response.content, [ledger.key])
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["SessionEnded"] == 1


def test_an_event_is_proved_under_its_logs_signed_head(ledger: Any, api: httpx.Client, event: list[Any]) -> None:
    proof = api.get(f"/v1/ledger/proof/{event[0]}").json()
    leaf, root, *nodes = map(b64decode, (proof["leaf_hash"], proof["root"], *proof["proof"]))
    verify_inclusion(leaf, proof["leaf_index"], proof["size"], nodes, root)
    assert open_checkpoint(proof["checkpoint"].encode(), claimed(ledger.notes[0]).origin, [ledger.key])


def test_consistency_between_two_checkpoints(ledger: Any, api: httpx.Client) -> None:
    old, new = claimed(ledger.notes[0]), claimed(api.get("/v1/ledger/checkpoint").content)
    answer = api.get("/v1/ledger/consistency", params={"from": old.size, "to": new.size}).json()
    verify_consistency(old.size, new.size, [b64decode(node) for node in answer["proof"]], old.root, new.root)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/sessions/00000000-0000-4000-8000-000000000000/seal", 404),
        ("/v1/ledger/proof/00000000-0000-4000-8000-000000000000", 404),
        ("/v1/ledger/proof/none", 422),
        ("/v1/ledger/consistency?from=0&to=1", 422),
        ("/v1/ledger/consistency?from=2&to=1", 422),
        ("/v1/ledger/consistency?from=1&to=99999999", 422),
        ("/v1/ledger/checkpoint?size=1", 422),
    ],
)
def test_what_cannot_be_proved_is_said(api: httpx.Client, path: str, status: int) -> None:
    response = api.get(path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_another_organisations_session_is_none(ledger: Any, event: list[Any]) -> None:
    clickhouse = ledger.clickhouse()
    sealer = Sealer(LedgerSource(clickhouse))
    with pytest.raises(UserError, match="is not in the ledger"):
        sealer.seal(UUID(event[1]), ledger.notes, Scope.of_organisation("another"))
    clickhouse.close()
