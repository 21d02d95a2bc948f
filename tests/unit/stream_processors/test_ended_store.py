"""`procurator.stream_processors.ended_store`: real RocksDB in a temporary folder."""

from pathlib import Path

from procurator.stream_processors.ended_store import EndedStore, Scratch

MANY = 2_500


def test_what_was_put_is_found_whether_written_yet_or_not(tmp_path: Path) -> None:
    store = EndedStore(tmp_path / "0")
    for number in range(MANY):
        store[f"session-{number}"] = b"first"
        store[f"session-{number}"] = f"state {number}".encode()
    assert [store.get(f"session-{number}") for number in (0, 1_999, MANY - 1)] == [
        b"state 0",
        b"state 1999",
        b"state 2499",
    ]
    assert store.get("another") is None
    for number in (0, MANY - 1):
        store.pop(f"session-{number}")
        assert store.get(f"session-{number}") is None
    store.close()
    assert not list((tmp_path / "0").glob("*.sst"))


def test_a_folder_of_a_process_that_lives_stays_and_of_one_that_was_killed_goes(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "000004.sst").touch()
    with Scratch(tmp_path) as first, Scratch(tmp_path) as second:
        assert first.path != second.path
        assert {path for path in tmp_path.iterdir() if path.is_dir()} == {first.path, second.path}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
