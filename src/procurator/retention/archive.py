"""IO: the export that a purge leaves behind: a folder of session bundles and a manifest with their digests.

``<purge id>/manifest.json`` names every file, its size and its SHA-256; the signed purge has the manifest's SHA-256.
Each bundle proves itself against a checkpoint. A folder is whole or has ``.part`` at the end of its name.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from procurator.note_keys import Verifier
from procurator.private_files import replace_file, sync_folder
from procurator.verify.bundle import verify_bundle
from procurator.verify.bundle_format import BUNDLE_BYTES_MAX, BundleError, parse
from procurator.verify.report import Report, Verdict

FORMAT = "procurator-retention-export/1"
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 64 * 1024 * 1024

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
#: What the ledger itself may lack of a session is no fault of its export.
_NO_FAULT = frozenset({"incomplete"})


@dataclass(frozen=True)
class ArchivedSession:
    """One session of an export. ``erased`` of its entries have no bytes; ``file`` is empty when all of them."""

    session_id: str
    file: str
    bytes: int
    sha256: str
    entries: int
    erased: int


class Archive:
    """One export, in ``<folder>/<purge id>``."""

    def __init__(self, folder: Path, purge_id: str) -> None:
        self.purge_id = purge_id
        self.path = folder / purge_id
        self._part = folder / f"{purge_id}.part"

    def write(self, ledger: str, sessions: Iterable[tuple[str, bytes, int, int]]) -> bytes:
        """Write (session id, bundle's file or nothing, entries, erased) and return the manifest's digest."""
        self._part.mkdir(parents=True, mode=0o700)
        written = []
        for session_id, data, entries, erased in sessions:
            name = f"{session_id}.json" if data else ""
            if name:
                replace_file(self._part / name, data)
            digest = hashlib.sha256(data).hexdigest() if data else ""
            written.append(ArchivedSession(session_id, name, len(data), digest, entries, erased))
        manifest = {
            "format": FORMAT,
            "purge_id": self.purge_id,
            "ledger": ledger,
            "sessions": [asdict(each) for each in written],
        }
        text = json.dumps(manifest, indent=1).encode()
        replace_file(self._part / MANIFEST, text)
        os.replace(self._part, self.path)
        sync_folder(self.path.parent)
        return hashlib.sha256(text).digest()

    def remove(self) -> None:
        """Undo it: the sessions are still in the ledger."""
        for path in (self.path, self._part):
            shutil.rmtree(path, ignore_errors=True)


def archives(folder: Path) -> Iterator[Archive]:
    """Yield the exports in a folder, whole ones and parts; nothing else in there is touched."""
    names = {path.name.removesuffix(".part") for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(filter(_UUID.fullmatch, names)):
        yield Archive(folder, name)


def verify_archive(
    path: Path,
    keys: Iterable[Verifier],
    digest: bytes | None = None,
    expected: Mapping[str, set[tuple[str, int]]] | None = None,
) -> Report:
    """Return everything found in an export on disk.

    ``digest``: the manifest's, as the signed purge has it. ``expected``: each session's (log id, leaf index) that the
    export must have the bytes of.
    """
    report, keys = Report(anchor=str(path)), list(keys)
    try:
        text = _read(path / MANIFEST, MANIFEST_BYTES_MAX)
        sessions = _sessions(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        report.cannot_tell("malformed", MANIFEST, f"no manifest of an export: {error}")
        return report
    if digest is not None and hashlib.sha256(text).digest() != digest:
        report.tampered("manifest_differs", MANIFEST, "its SHA-256 is not the one in the signed purge")
    for session in sessions:
        _check_session(path, session, keys, None if expected is None else expected.get(session.session_id), report)
    if expected is not None and (lacking := expected.keys() - {session.session_id for session in sessions}):
        report.tampered("missing", f"session {min(lacking)}", f"{len(lacking)} sessions are not in the export")
    return report


def _sessions(manifest: bytes) -> list[ArchivedSession]:
    document: dict[str, Any] = json.loads(manifest)
    if document["format"] != FORMAT:
        raise ValueError(f"format is not {FORMAT!r}")
    sessions = [ArchivedSession(**each) for each in document["sessions"]]
    for each in sessions:
        if not _UUID.fullmatch(each.session_id) or each.file not in ("", f"{each.session_id}.json"):
            raise ValueError(f"{each.session_id!r} and {each.file!r} are no session and its file")
    return sessions


def _check_session(
    path: Path,
    session: ArchivedSession,
    keys: list[Verifier],
    expected: set[tuple[str, int]] | None,
    report: Report,
) -> None:
    where = f"session {session.session_id}"
    report.counts["sessions"] += 1
    report.counts["entries_erased"] += session.erased
    places: set[tuple[str, int]] = set()
    if session.file:
        try:
            data = _read(path / session.file, BUNDLE_BYTES_MAX)
        except OSError as error:
            report.tampered("missing", where, f"{session.file} cannot be read: {error.strerror}")
            return
        if hashlib.sha256(data).hexdigest() != session.sha256:
            report.tampered("file_differs", where, f"{session.file} is not the file that the manifest names")
            return
        for finding in (found := verify_bundle(data, keys)).findings:
            if finding.what not in _NO_FAULT:
                add = report.tampered if finding.verdict is Verdict.TAMPERED else report.cannot_tell
                add(finding.what, f"{where} {finding.where}", finding.message)
        report.counts["entries"] += found.counts["entries"]
        places = _places(data, session.session_id, report)
    if len(places) + session.erased != session.entries or (expected is not None and places != expected):
        report.tampered("incomplete", where, "its file does not hold every entry that goes")


def _places(data: bytes, session_id: str, report: Report) -> set[tuple[str, int]]:
    try:
        bundle = parse(data)
    except BundleError:
        return set()  # `verify_bundle` has said so
    if bundle.session_id != session_id:
        report.tampered("transplanted", f"session {session_id}", f"its file is of session {bundle.session_id}")
    return {(log.log_id, entry.leaf_index) for log in bundle.logs for entry in log.entries}


def _read(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        return file.read(bytes_max + 1)
