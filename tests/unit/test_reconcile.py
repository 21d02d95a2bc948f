"""What reconcile compares and asks, as far as it can be told without a ledger (tests/integration has one)."""

import json
from collections.abc import Iterator

from procurator.avro_schemas.codec import load_schema
from procurator.reconcile import FIELDS, NO_SESSION, Policy, RangeReport, comparison, reconcile


def test_what_is_compared_are_fields_of_the_state() -> None:
    fields = {field["name"] for field in json.loads(load_schema("session_state").text)["fields"]}
    assert set(FIELDS) <= fields
    assert len(set(FIELDS)) == len(FIELDS)


def test_every_read_of_a_table_stays_within_the_range() -> None:
    sql = comparison("session_id > {after:UUID}")
    assert sql.count("FROM events WHERE session_id > {after:UUID}") == sql.count("FROM events") == 1
    assert sql.count("FROM sessions FINAL WHERE session_id > {after:UUID}") == sql.count("FROM sessions") == 1


def test_ranges_follow_one_another_and_the_last_one_is_open() -> None:
    ends: Iterator[list[list[object]]] = iter([[["b"]], [["d"]], []])
    ranges: list[tuple[object, object]] = []

    def select(sql: str, params: dict[str, str | int]) -> list[list[object]]:
        if "OFFSET" in sql:
            return next(ends)
        if not sql.startswith("SELECT"):
            ranges.append((params["after"], params.get("until")))
            return []
        return [[1]]

    assert list(reconcile(select, Policy())) == [RangeReport(1, 1, 0, [])] * 3
    assert list(dict.fromkeys(ranges)) == [(NO_SESSION, "b"), ("b", "d"), ("d", None)]
