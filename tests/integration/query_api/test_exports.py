"""Exports on real ClickHouse and Kafka: files that say what the ledger has, and jobs that outlive their process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import jsonschema  # type: ignore[import-untyped]
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from procurator.access import Permission, Principal, Scope
from procurator.config import Settings
from procurator.deploy.embedded.stack import Stack
from procurator.key_files import load_verifier
from procurator.producers import Procurator
from procurator.query_api.export.job import UNFINISHED, FileFormat, Job
from procurator.query_api.export.source import ExportSource
from procurator.query_api.export.store import JobStore
from procurator.query_api.queries.export import SnapshotSessions
from procurator.query_api.search import parse
from procurator.verify.export_format import verify_file
from procurator.verify.report import Verdict

WAIT_S = 60.0
pytestmark = pytest.mark.timeout(240)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process or thread does."""
    never, tries = Event(), int(WAIT_S / 0.05)
    assert any(condition() or never.wait(0.05) for _ in range(tries)), f"not within {WAIT_S} s"


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def exported(api: httpx.Client, session_id: str) -> bytes:
    """Return a session's export once all of it is signed."""
    answers: list[httpx.Response] = []

    def is_whole() -> bool:
        answers.append(api.get(f"/v1/sessions/{session_id}/export"))
        document = answers[-1].json() if answers[-1].status_code == 200 else {}
        return (
            bool(document) and document["not_proven"]["unsigned_entries"] == 0 and document["session"]["completed_at"]
        )

    until(is_whole)
    return answers[-1].content


def test_a_session_s_export_verifies_offline_and_an_edit_is_found(
    stack: Stack, api: httpx.Client, tmp_path: Path
) -> None:
    with (
        Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id="ex") as sdk,
        sdk.session(agent="billing", user="ada", labels={"case": "ü"}) as session,
    ):
        session.turn("user", "Where is my order?")
        with session.model_call("openai", "gpt-4o") as call:
            call.complete(input_tokens=100, output_tokens=20)
        with session.tool_call("get_order", {"id": 4711}, mcp_server_id="orders") as tool:
            tool.complete({"state": "shipped"})
        session.turn("assistant", "It is on its way.", thinking="Shipped.")
    data = exported(api, session.session_id)
    document = json.loads(data)
    schema = api.get("/v1/schemas/export.json").json()
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert list(validator.iter_errors(document)) == []
    key = stack.layout.data_dir / "sign" / "key.pub"
    report = verify_file(data, [load_verifier(key)])
    assert report.verdict is Verdict.SOUND, report.to_json()
    for part in ("turns", "tool_calls", "model_calls"):
        shown = api.get(f"/v1/sessions/{session.session_id}/{part.replace('_', '-')}").json()["items"]
        assert len(shown) == len(document[part])
        for ours, theirs in zip(document[part], shown, strict=True):
            assert {name: ours[name] for name in ours.keys() & theirs.keys()} == {
                name: theirs[name] for name in ours.keys() & theirs.keys()
            }
    assert float(document["not_proven"]["cost_usd"]) > 0
    edited = tmp_path / "edited.json"
    edited.write_bytes(data.replace(b'"content":"It is on', b'"content":"It was on'))
    told = subprocess.run(
        [sys.executable, "-m", "procurator", "verify", "bundle", str(edited), "--key", str(key)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (told.returncode, told.stdout.splitlines()[1].strip()) == (
        1,
        "tampered readable_part: turns[1].content: is not what the events in the bundle say",
    )


@pytest.mark.parametrize("file_format", ["ndjson", "parquet"])
def test_the_command_brings_what_a_filter_finds(
    stack: Stack, api: httpx.Client, tmp_path: Path, file_format: str
) -> None:
    org_id, folder = f"export-{uuid4().hex[:8]}", tmp_path / "november"
    with Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, org_id=org_id) as sdk:
        for agent in ("billing", "billing", "search"):
            with sdk.session(agent=agent) as session:
                session.turn("user", "Where is my order?")
    # One that has not ended yet is not found.
    until(lambda: api.get(f"/v1/sessions?q=org:{org_id} status:COMPLETED").json()["items"][2:])
    command = [sys.executable, "-m", "procurator", "export", "--filter", f"org:{org_id} agent:billing status:COMPLETED"]
    environment = {**os.environ, "PROCURATOR_API_URL": stack.api_url, "PROCURATOR_API_KEY": stack.admin_key}

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        asked = [*command, "--output", str(folder), "--format", file_format, *options]
        return subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False)

    told = run()
    assert told.returncode == 0, told.stderr
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "sessions.ndjson", f"events-000000.{file_format}"
    }  # fmt: skip
    for file in manifest["files"]:
        assert sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    assert (manifest["sessions"], manifest["events"]) == (2, 6)
    assert f"2 sessions, 6 entries in 3 files in {folder}" in told.stderr
    again = run()
    assert (again.returncode, "is not empty: name a new folder" in again.stderr) == (2, True)


@pytest.fixture(scope="module")
def org_id(ledger: Any, new_sessions: Callable[[str, int], None]) -> str:
    """An organisation with forty sessions in the ledger."""
    org_id = f"export-{uuid4().hex[:8]}"
    new_sessions(org_id, 40)
    return org_id


@pytest.fixture(scope="module")
def new_sessions(ledger: Any, new_runtime: Callable[..., Any]) -> Callable[[str, int], None]:
    def make(org_id: str, count: int) -> None:
        for _ in range(count):
            run = new_runtime(org_id=org_id)
            ledger.add(run.start(), run.turn(0, f"ü\n{uuid4()}"), run.model_call(0, "m", input_tokens=1000), run.end())
            ledger.publish(run.session_id)

    return make


def finished(client: TestClient, export_id: str, status: str = "COMPLETED") -> Any:
    shown: list[Any] = []

    def is_finished() -> bool:
        shown.append(client.get(f"/v1/exports/{export_id}").raise_for_status().json())
        return bool(shown[-1]["status"] not in ("QUEUED", "RUNNING"))

    until(is_finished)
    assert shown[-1]["status"] == status, shown[-1]
    return shown[-1]


def begin(client: TestClient, **request: Any) -> str:
    answer = client.post("/v1/exports", json=request)
    assert answer.status_code == 202, answer.text
    export_id: str = answer.json()["export_id"]
    return export_id


def test_ndjson_is_downloaded_whole(client: TestClient, org_id: str) -> None:
    export = finished(client, begin(client, filter=f"org:{org_id}"))
    assert (
        (export["sessions_done"], export["events_done"])
        == (40, 160)
        == (export["sessions_total"], export["events_expected"])
    )
    files = {}
    for file in export["files"]:
        data = client.get(f"/v1/exports/{export['export_id']}/files/{file['name']}").content
        assert (len(data), sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        files[file["name"]] = data
    manifest = json.loads(files["manifest.json"])
    assert (manifest["sessions"], manifest["events"], manifest["files"]) == (40, 160, export["files"][:-1])
    events = [json.loads(line) for line in files["events-000000.ndjson"].splitlines()]
    sessions = [json.loads(line) for line in files["sessions.ndjson"].splitlines()]
    for session in sessions[:5]:
        entries = client.get(f"/v1/sessions/{session['session_id']}/events").json()["items"]
        mine = [event for event in events if event["session_id"] == session["session_id"]]
        for name in (
            "log_id",
            "offset",
            "leaf_index",
            "leaf_hash",
            "broker_time",
            "event_id",
            "sequence",
            "occurred_at",
        ):
            assert [event[name] for event in mine] == [entry[name] for entry in entries], name
        assert mine[2]["cost_usd"] == "0.0025"


def test_parquet_goes_to_a_directory(client: TestClient, org_id: str, reader_settings: Settings) -> None:
    export = finished(client, begin(client, filter=f"org:{org_id}", format="parquet", directory="november"))
    [folder] = (reader_settings.exports / "directories" / "operator" / "november").iterdir()
    assert folder.name == export["export_id"]
    table = pyarrow.parquet.read_table(folder / "events-000000.parquet")
    assert table.num_rows == 160 == export["events_done"]
    assert sum(cost for cost in table.column("cost_usd").to_pylist() if cost is not None) == Decimal("0.1")


def test_over_a_network_an_answer_is_compressed_and_the_same(
    reader_settings: Settings, org_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> bytes:
        query = SnapshotSessions(scope=Scope.everywhere(), filter=parse(f"org:{org_id}"))
        source = ExportSource(reader_settings)
        try:
            with source.rows(query, FileFormat.NDJSON) as pieces:
                return b"".join(pieces)
        finally:
            source.close()

    near = read()
    monkeypatch.setattr("procurator.query_api.export.source.is_local", lambda _: False)
    assert read() == near
    assert near.count(b"\n") == 40


@pytest.mark.parametrize("directory", ["..", "../x", "a/b", "/etc", ".hidden", "", "a\0b", "%2e%2e", "x" * 101])
def test_no_directory_leads_out(client: TestClient, directory: str) -> None:
    answer = client.post("/v1/exports", json={"directory": directory})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "directory")


@pytest.mark.parametrize("name", ["job.json", "..%2fjob.json", "lock", "events-000000.ndjson.part", "nothing"])
def test_only_the_files_of_an_export_are_served(client: TestClient, org_id: str, name: str) -> None:
    export_id = begin(client, filter=f"org:{org_id}")
    finished(client, export_id)
    assert client.get(f"/v1/exports/{export_id}/files/{name}").status_code == 404


def test_exports_are_their_makers(client: TestClient, org_id: str) -> None:
    export_id = begin(client, filter=f"org:{org_id}")
    other = {"Authorization": "Bearer acme-all"}
    assert client.get(f"/v1/exports/{export_id}", headers=other).status_code == 403
    finished(client, export_id)
    assert client.delete(f"/v1/exports/{export_id}").status_code == 204
    assert client.get(f"/v1/exports/{export_id}").status_code == 404


def test_a_bad_filter_is_said_before_anything_begins(client: TestClient) -> None:
    answer = client.post("/v1/exports", json={"filter": 'agent:"open'})
    assert answer.status_code == 422
    assert "example" in answer.text
    assert [error["field"] for error in answer.json()["errors"]] == ["filter"]


_CHILD = """
import sys, threading, time
from procurator.config import Settings
from procurator.query_api.export.service import Exports
from procurator.query_api.export.snapshot import PartPolicy
from procurator.query_api.export.worker import ExportWorker
write = ExportWorker._write
ExportWorker._write = lambda *of: (time.sleep(0.1), write(*of))[1]  # so that it can be killed before its end
Exports(Settings(), lambda: None, PartPolicy(events_max=4)).start()
threading.Event().wait()
"""


def test_a_job_whose_process_is_killed_goes_on_and_is_what_it_would_have_been(
    client: TestClient, reader_settings: Settings, org_id: str, new_sessions: Callable[[str, int], None], tmp_path: Path
) -> None:
    store = JobStore(tmp_path)
    principal = Principal("key:admin", None, frozenset({Permission.ADMIN}))
    job = Job.new(principal, f"org:{org_id}", FileFormat.NDJSON, None)
    store.save(job)
    environment = {
        **os.environ,
        "PROCURATOR_EXPORTS_DIR": str(tmp_path),
        "PROCURATOR_CLICKHOUSE_URL": reader_settings.clickhouse_url,
        "PROCURATOR_CLICKHOUSE_USER": reader_settings.clickhouse_user,
        "PROCURATOR_CLICKHOUSE_PASSWORD": reader_settings.clickhouse_password.get_secret_value(),
        "PROCURATOR_CLICKHOUSE_DATABASE": reader_settings.clickhouse_database,
    }

    def state() -> Job:
        found = store.find(job.export_id)
        assert found is not None
        return found

    def run(until_files: int) -> None:
        child = subprocess.Popen([sys.executable, "-c", _CHILD], env=environment)
        try:
            until(lambda: len(state().files) >= until_files or state().status not in UNFINISHED)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()

    run(2)
    assert state().status in UNFINISHED, "it was over before it could be killed"
    new_sessions(org_id, 3)  # what comes later is not in the snapshot
    run(6)
    run(10**9)
    done = state()
    assert (done.status, done.sessions_done, done.events_done) == ("COMPLETED", 40, 160), done.message
    lines = []
    for file in done.files:
        data = (store.files(done) / file.name).read_bytes()
        assert sha256(data).hexdigest() == file.sha256
        lines += data.splitlines() if file.name.startswith("events") else []
    places = [(event["log_id"], event["offset"]) for event in map(json.loads, lines)]
    assert len(set(places)) == len(places) == 160


def test_a_job_is_cancelled_and_leaves_no_file(client: TestClient, reader_settings: Settings, org_id: str) -> None:
    export_id = begin(client, filter=f"org:{org_id}")
    assert client.delete(f"/v1/exports/{export_id}").status_code == 204
    store = JobStore(reader_settings.exports)
    until(lambda: (job := store.find(export_id)) is None or job.status not in UNFINISHED)
    found = store.find(export_id)
    if found is not None and found.status == "CANCELLED":  # it was not over yet
        assert not store.files(found).exists()


def test_beginnings_of_too_many_words_fail_their_job_and_no_other(
    client: TestClient, ledger: Any, new_runtime: Callable[..., Any]
) -> None:
    beginnings = ("pro", "con", "res", "int")
    run = new_runtime(org_id=f"export-{uuid4().hex[:8]}")
    words = " ".join(f"{beginning}{number:020}" for beginning in beginnings for number in range(950))
    ledger.add(run.start(), run.turn(0, words), run.end())
    ledger.publish(run.session_id)
    failed = finished(client, begin(client, filter=" ".join(f"{beginning}*" for beginning in beginnings)), "FAILED")
    assert failed["message"] == (
        "the words that begin so are too long together: write more of the beginnings; for example reimburse*"
    )
    done = finished(client, begin(client, filter=f"org:{run.org_id} pro00000000000000000001*"))
    assert done["events_done"] == 3


def test_a_request_sent_again_with_its_key_is_the_same_export(client: TestClient) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = client.post("/v1/exports", json={"filter": "agent:nobody"}, headers=key)
    again = client.post("/v1/exports", json={"filter": "agent:nobody"}, headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json()) == (202, first.json())
    assert (again.headers["Idempotency-Replayed"], "Idempotency-Replayed" in first.headers) == ("true", False)
    other = client.post("/v1/exports", json={"filter": "agent:somebody"}, headers=key)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    elsewhere = client.post("/v1/exports", json={"filter": "agent:nobody"}, headers={"Idempotency-Key": str(uuid4())})
    assert elsewhere.json()["export_id"] != first.json()["export_id"]
