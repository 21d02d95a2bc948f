"""IO: keys and checkpoints as the user of a verifier gives them: texts and files."""

from pathlib import Path

from procurator.checkpoint_file import read_checkpoints
from procurator.config import Settings
from procurator.errors import UserError
from procurator.key_files import load_verifier, parse_verifier, public_path
from procurator.note_keys import Verifier


def trusted_keys(given: list[str] | None, settings: Settings) -> list[Verifier]:
    """Return the verifier keys given as texts or files, by default the one beside the signer's key."""
    if not given:
        return [load_verifier(public_path(settings.signing_key))]
    return [parse_verifier(text, "--key") if "+" in text else load_verifier(Path(text)) for text in given]


def read_notes(files: list[Path]) -> list[bytes]:
    """Return the checkpoints in files, in their order. Raises UserError when there is none."""
    notes = []
    for file in filter(Path.exists, files):
        # A note by itself, as the API gives it, has no empty line after it.
        notes += list(read_checkpoints(file)) or [data for data in (file.read_bytes(),) if data]
    if not notes:
        raise UserError(f"no checkpoint in {', '.join(map(str, files))}: name a file with --checkpoints")
    return notes
