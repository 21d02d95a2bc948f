"""Bulk exports without IO: who may know of one, where it may go, how it is cut into files."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procurator.access import Permission, Principal
from procurator.query_api.export.job import FileFormat, Job, is_directory_name
from procurator.query_api.export.snapshot import PartPolicy, parts

EXPORT, ADMIN, ALL = Permission.SESSIONS_EXPORT, Permission.ADMIN, Permission.SESSIONS_READ_ALL


def principal(name: str, org_id: str | None, *permissions: Permission, teams: tuple[str, ...] = ()) -> Principal:
    return Principal(name, org_id, frozenset(permissions), frozenset(teams))


ADA = principal("ada", "acme", EXPORT, teams=("payments", "search"))


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (ADA, True),
        (principal("ada", "acme", EXPORT, teams=("payments", "search", "more")), True),
        (principal("ada", "acme", EXPORT, teams=("payments",)), False),
        (principal("ada", "beta", EXPORT, teams=("payments", "search")), False),
        (principal("bob", "acme", EXPORT, teams=("payments", "search")), False),
        (principal("bob", "acme", EXPORT, ALL), False),
        (principal("root", "acme", ADMIN), True),
        (principal("root", "beta", ADMIN), False),
        (principal("operator", None, ADMIN), True),
    ],
)
def test_an_export_is_its_maker_s_as_long_as_they_see_all_of_it(who: Principal, sees: bool) -> None:
    assert Job.new(ADA, "", FileFormat.NDJSON, None).is_visible_to(who) is sees


def test_the_operator_s_exports_are_the_operator_s() -> None:
    job = Job.new(principal("operator", None, ADMIN), "", FileFormat.NDJSON, None)
    assert not job.is_visible_to(principal("root", "acme", ADMIN))


def test_a_job_reads_back_as_it_was_written() -> None:
    job = Job.new(ADA, "agent:billing", FileFormat.PARQUET, "november")
    assert Job.model_validate_json(job.model_dump_json()) == job
    assert job.scope == ADA.scope


@given(st.text(max_size=12))
def test_no_directory_name_is_a_way(text: str) -> None:
    if is_directory_name(text):
        assert "/" not in text
        assert "\\" not in text
        assert not text.startswith(".")


@given(
    st.lists(st.integers(0, 12), max_size=30),
    st.integers(1, 10),
    st.integers(1, 6),
    st.integers(0, 30),
)
def test_files_hold_each_session_once_and_the_rest_is_the_rest(
    sizes: list[int], events_max: int, sessions_max: int, finished: int
) -> None:
    ids = [UUID(int=number) for number in range(len(sizes))]
    lines = [
        json.dumps({"session_id": str(session_id), "events": size, "repeated_events": 0}).encode()
        for session_id, size in zip(ids, sizes, strict=True)
    ]
    policy = PartPolicy(events_max, sessions_max)
    whole = list(parts(lines, policy))
    assert [session_id for part in whole for session_id in part.session_ids] == ids
    assert [part.number for part in whole] == list(range(len(whole)))
    assert all(len(part.session_ids) <= sessions_max for part in whole)
    done = whole[:finished]
    assert list(parts(lines, policy, sum(len(part.session_ids) for part in done), len(done))) == whole[finished:]
