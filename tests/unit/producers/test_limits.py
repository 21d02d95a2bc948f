"""Texts are kept whole up to 8 MiB and cut with a mark beyond; what UTF-8 cannot carry is escaped and marked."""

import hashlib

from procurator.producers.limits import EVENT_BYTES_MAX, FIELD_BYTES_MAX, fit


def test_what_fits_is_untouched() -> None:
    payload = {"content": "é" * (FIELD_BYTES_MAX // 2), "thinking": None, "turn_index": 1}
    before = dict(payload)
    assert fit(payload) == ([], [])
    assert payload == before


def test_what_is_beyond_is_cut_at_a_character_and_says_what_it_was() -> None:
    whole = "a" + "é" * (FIELD_BYTES_MAX // 2)
    payload = {"content": whole}
    truncations, _ = fit(payload)
    assert truncations == [
        {
            "field": "content",
            "original_bytes": FIELD_BYTES_MAX + 1,
            "sha256": hashlib.sha256(whole.encode()).digest(),
        }
    ]
    assert payload["content"] == whole[: FIELD_BYTES_MAX // 2]


def test_an_event_fits_its_record_with_all_its_texts() -> None:
    payload = {"content": "a" * FIELD_BYTES_MAX, "thinking": "b" * FIELD_BYTES_MAX}
    truncations, _ = fit(payload)
    assert [mark["field"] for mark in truncations] == ["thinking"]
    assert sum(map(len, payload.values())) == EVENT_BYTES_MAX


def test_lone_surrogates_are_escaped_and_marked_also_in_nested_texts() -> None:
    payload = {"status": "FAILED", "error": {"type": "E", "message": "a\ud800b\udfff", "stack": None}}
    assert fit(payload) == ([], [{"field": "error.message", "rule": "lone_surrogate", "count": 2}])
    assert payload["error"] == {"type": "E", "message": "a\\ud800b\\udfff", "stack": None}
