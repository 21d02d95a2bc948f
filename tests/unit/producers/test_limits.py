"""Texts are kept whole up to 8 MiB and cut with a mark beyond; what UTF-8 cannot carry is escaped and marked."""

import hashlib

from procurator.events import NAME_CHARS_MAX
from procurator.producers.limits import EVENT_BYTES_MAX, FIELD_BYTES_MAX, clean, fit


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


def test_a_long_name_is_shortened_to_one_that_stays_different_and_says_what_it_was() -> None:
    whole = "ä" * NAME_CHARS_MAX
    payload = {"tool_call_id": whole + "1", "model_call_id": whole, "content": whole + "1"}
    truncations, redactions = fit(payload)
    digest = hashlib.sha256((whole + "1").encode())
    assert payload == {
        "tool_call_id": "ä" * (NAME_CHARS_MAX - 65) + "…" + digest.hexdigest(),
        "model_call_id": whole,
        "content": whole + "1",
    }
    assert len(payload["tool_call_id"]) == NAME_CHARS_MAX
    assert payload["tool_call_id"] == clean(whole + "1") != clean(whole + "2")
    mark = {"field": "tool_call_id", "original_bytes": 2 * NAME_CHARS_MAX + 1, "sha256": digest.digest()}
    assert (truncations, redactions) == ([mark], [])


def test_a_long_label_is_shortened_whatever_it_is_called() -> None:
    payload = {"labels": {"content": "x" * (NAME_CHARS_MAX + 1), "tier": "1"}}
    truncations, _ = fit(payload)
    assert [mark["field"] for mark in truncations] == ["labels.content"]
    assert len(payload["labels"]["content"]) == NAME_CHARS_MAX
