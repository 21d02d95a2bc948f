"""The spool keeps what it took in order, takes nothing by half, and stays within its bounds on any disk."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from procurator.producers import spool as module
from procurator.producers.frames import Head, Record
from procurator.producers.spool import Spool, SpoolFailed

HEAD = Head(schema="{}", cluster="broker:9092")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Spool]:
    def make(bytes_max: int = 1 << 30, head: Head = HEAD) -> Spool:
        return Spool(tmp_path / "spool", head, bytes_max)

    return make


def some(first: int, count: int, size: int = 100) -> list[Record]:
    return [(b"key", f"{n}:".encode() + bytes(size)) for n in range(first, first + count)]


def drain(spool: Spool) -> list[Record]:
    """Do what delivery does with segments."""
    found: list[Record] = []
    while (segment := spool.oldest()) is not None:
        read = spool.read(segment)
        found += read.records
        spool.remove(segment, read)
    return found


def test_groups_come_back_in_order_over_segments(make: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES_MAX", 1_000)
    spool = make()
    for group in range(20):
        spool.append(some(5 * group, 5))
    assert drain(spool) == some(0, 100)
    assert (spool.bytes, spool.empty) == (0, True)


def test_nothing_is_written_before_the_first_event_and_nothing_is_left_after_the_last(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    spool = make()
    assert list(tmp_path.iterdir()) == []
    spool.append(some(0, 1))
    drain(spool)
    spool.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_dead_writers_segments_are_adopted_once_and_before_our_own(make: Callable[..., Spool]) -> None:
    dead, living = make(), make()
    dead.append(some(0, 3))
    living.append(some(10, 1))
    other = make()
    assert other.adopt() == 0  # both live
    dead.close()
    other.append(some(20, 1))
    assert other.adopt() == 1
    assert make().adopt() == 0
    assert not other.empty
    assert drain(other) == some(0, 3) + some(20, 1)
    assert other.adopt() == 0
    assert drain(living) == some(10, 1)


def test_what_is_adopted_meanwhile_leaves_the_segment_that_was_sent(make: Callable[..., Spool]) -> None:
    dead, living = make(), make()
    dead.append(some(0, 3))
    living.append(some(10, 1))
    segment = living.oldest()
    assert segment is not None
    dead.close()
    assert living.adopt() == 1
    living.remove(segment, living.read(segment))
    assert living.empty
    assert drain(living) == some(0, 3)


def test_older_events_go_before_what_is_there_and_after_what_was_adopted(make: Callable[..., Spool]) -> None:
    dead, living = make(), make()
    dead.append(some(0, 1))
    dead.close()
    living.append(some(30, 2))
    living.prepend(some(20, 2))
    living.prepend(some(10, 2))
    living.append(some(32, 1))
    assert living.adopt() == 1
    assert drain(living) == some(0, 1) + some(10, 2) + some(20, 2) + some(30, 3)


def test_older_events_are_adopted_in_their_order(make: Callable[..., Spool]) -> None:
    dead, other = make(), make()
    dead.append(some(10, 1))
    dead.prepend(some(0, 1))
    dead.close()
    assert other.adopt() == 2
    assert drain(other) == some(0, 1) + some(10, 1)


def test_older_events_that_have_no_room_are_not_kept_by_half(make: Callable[..., Spool]) -> None:
    spool = make(bytes_max=700)
    spool.append(some(10, 1))
    held = spool.bytes
    with pytest.raises(SpoolFailed, match="may hold 700"):
        spool.prepend(some(0, 9))
    assert spool.bytes == held
    assert drain(spool) == some(10, 1)


def test_clusters_are_kept_apart(make: Callable[..., Spool]) -> None:
    dead = make()
    dead.append(some(0, 1))
    dead.close()
    assert make(head=Head(schema="{}", cluster="another:9092")).adopt() == 0


def test_the_bound_holds_and_counts_what_was_adopted(make: Callable[..., Spool]) -> None:
    dead = make()
    dead.append(some(0, 5, 1_000))
    dead.close()
    spool = make(bytes_max=8_000)
    spool.adopt()
    spool.append(some(10, 1, 1_000))
    with pytest.raises(SpoolFailed, match=r"it holds 6,\d+ bytes, and may hold 8,000"):
        spool.append(some(11, 2, 1_000))
    assert drain(spool) == some(0, 5, 1_000) + some(10, 1, 1_000)
    spool.append(some(11, 2, 1_000))


def test_a_full_disk_takes_a_group_whole_or_not_at_all(
    make: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make()
    spool.append(some(0, 2))
    write = os.write

    def full(file: int, data: Any) -> int:
        if len(data) > 50:
            return write(file, data[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(2):
            with pytest.raises(SpoolFailed, match="No space left on device"):
                spool.append(some(2, 2))
    spool.append(some(4, 2))
    assert drain(spool) == some(0, 2) + some(4, 2)


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where a folder belongs")
    spool = Spool(tmp_path / "spool", HEAD, 1 << 20)
    with pytest.raises(SpoolFailed, match="Not a directory"):
        spool.append(some(0, 1))
    assert spool.adopt() == 0
    assert spool.oldest() is None


def test_a_corrupt_segment_gives_its_beginning_and_is_kept_aside(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = make()
    dead.append(some(0, 10))
    dead.close()
    (path,) = tmp_path.rglob("*.seg")
    data = bytearray(path.read_bytes())
    data[-150] ^= 1
    path.write_bytes(data)
    spool = make()
    spool.adopt()
    assert drain(spool) == some(0, 8)
    (line,) = caplog.messages
    assert "a frame's checksum is wrong): the 8 events before are delivered" in line
    (kept,) = tmp_path.rglob("corrupt/*.seg")
    assert kept.read_bytes() == data
    assert make().adopt() == 0


def test_what_cannot_be_read_at_all_is_put_aside_too(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = make()
    dead.append(some(0, 1))
    dead.close()
    (path,) = tmp_path.rglob("*.seg")
    path.write_bytes(b"")
    spool = make()
    spool.adopt()
    assert drain(spool) == []
    assert "it does not begin as a segment does" in caplog.text


def left_by_a_dead_writer(make: Callable[..., Spool], tmp_path: Path, records: list[Record]) -> Path:
    dead = make()
    dead.append(records)
    dead.close()
    (path,) = tmp_path.rglob("*.seg")
    return path


def test_what_cannot_be_read_for_now_says_nothing_about_the_segment_which_stays(
    make: Callable[..., Spool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_by_a_dead_writer(make, tmp_path, some(0, 3))
    spool = make()

    def too_many_files(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", too_many_files)
        for _ in range(2):
            assert spool.adopt() == 1
            segment = spool.oldest()
            assert segment is not None
            with pytest.raises(SpoolFailed, match=r"1\.seg cannot be read \(Too many open files\)"):
                spool.read(segment)
            spool.let_go(segment)
    (line,) = caplog.messages
    assert f"{path} cannot be read (Too many open files): it is kept and tried again" in line
    assert spool.bytes == 0
    assert spool.adopt() == 1
    assert drain(spool) == some(0, 3)


def test_a_folder_that_cannot_be_listed_for_now_is_adopted_later(
    make: Callable[..., Spool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_dead_writer(make, tmp_path, some(0, 3))
    spool = make()

    def too_many_files(folder: Path) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", str(folder))

    with monkeypatch.context() as patched:
        patched.setattr(module, "_segments", too_many_files)
        assert spool.adopt() == 0
    assert spool.adopt() == 1
    assert drain(spool) == some(0, 3)


def test_what_somebody_removed_is_told_and_keeps_nothing_back(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_by_a_dead_writer(make, tmp_path, some(0, 3))
    spool = make()
    spool.adopt()
    path.unlink()
    assert drain(spool) == []
    assert f"{path} is gone, and with it its events" in caplog.text


def test_a_corrupt_segment_that_cannot_be_put_aside_stays_and_is_left_to_the_next_process(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_by_a_dead_writer(make, tmp_path, some(0, 10))
    data = path.read_bytes()[:-1]
    path.write_bytes(data)
    in_the_way = path.parent.parent / "corrupt"
    in_the_way.write_text("a file where a folder belongs")
    spool = make()
    spool.adopt()
    assert drain(spool) == some(0, 9)
    (line,) = caplog.messages
    assert f"{path} is corrupt" in line
    assert "it stays there, since it cannot be moved to" in line
    assert path.read_bytes() == data
    assert spool.adopt() == 0  # Else its beginning would be sent again and again.
    spool.close()
    in_the_way.unlink()
    spool = make()
    spool.adopt()
    assert drain(spool) == some(0, 9)
    (kept,) = tmp_path.rglob("corrupt/*.seg")
    assert kept.read_bytes() == data


def test_our_own_corrupt_segment_that_cannot_be_put_aside_is_left_to_the_next_process(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    spool = make()
    spool.append(some(0, 10))
    (path,) = tmp_path.rglob("*.seg")
    path.write_bytes(path.read_bytes()[:-1])
    (path.parent.parent / "corrupt").write_text("a file where a folder belongs")
    assert drain(spool) == some(0, 9)
    assert (spool.empty, spool.adopt()) == (True, 0)
    spool.close()
    assert make().adopt() == 1


def test_what_is_refused_is_put_aside_until_somebody_moves_it_back(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_by_a_dead_writer(make, tmp_path, some(0, 3))
    spool = make()
    spool.adopt()
    segment = spool.oldest()
    assert segment is not None
    spool.refuse(segment, "its schema is not there: register it")
    assert (spool.oldest(), spool.adopt(), spool.bytes) == (None, 0, 0)
    (kept,) = tmp_path.rglob("corrupt/*.seg")
    (line,) = caplog.messages
    assert f"{path} cannot be sent: its schema is not there: register it, once that is mended, move it back" in line
    assert line.endswith(f"from {kept}")
    path.parent.mkdir()
    kept.rename(path)
    assert spool.adopt() == 1
    assert drain(spool) == some(0, 3)


def test_what_is_refused_and_cannot_be_put_aside_is_tried_again_at_the_next_look(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    path = left_by_a_dead_writer(make, tmp_path, some(0, 3))
    (path.parent.parent / "corrupt").write_text("a file where a folder belongs")
    spool = make()
    spool.adopt()
    segment = spool.oldest()
    assert segment is not None
    spool.refuse(segment, "its schema is not there")
    assert spool.oldest() is None
    assert spool.adopt() == 1
    assert drain(spool) == some(0, 3)


def test_its_files_are_for_their_owner_alone(make: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make()
    spool.append(some(0, 1))
    (path,) = tmp_path.rglob("*.seg")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_forked_child_lets_go_without_taking_the_lock_along(make: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make()
    spool.append(some(0, 1))
    (lock,) = tmp_path.rglob("lock")
    spool.forget()
    with lock.open() as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(list(tmp_path.rglob("*.seg"))) == 1
