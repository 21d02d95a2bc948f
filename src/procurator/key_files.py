"""IO: the signing key on disk. ``<file>`` is the private key (mode 0600), ``<file>.pub`` the verifier key.

Rotation: `prepare_next` makes ``<file>.next`` beside the key. The signer records the rotation, signs once with both
and then calls `promote_next`, which retires the old key to ``<file>.<key id>.retired``.
"""

import os
import stat
from pathlib import Path

from procurator.errors import UserError
from procurator.note_keys import CheckpointError, Signer, Verifier
from procurator.private_files import create_file, replace_file

#: The name in signature lines of a key that we generate.
KEY_NAME = "procurator.ledger"


def load_signer(path: Path) -> Signer:
    """Return the key in a file. Raises UserError when there is none, others may read it, or it is none."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no signing key at {path}: run `procurator keys generate`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the signing key at {path} cannot be read: {error}") from None
    if mode & 0o077:
        raise UserError(f"the signing key at {path} is open to others (mode {mode:o}): chmod 600 it, or replace it")
    try:
        return Signer.parse(text.strip())
    except CheckpointError as error:
        raise UserError(f"{path} is no signing key: {error}") from None


def load_verifier(path: Path) -> Verifier:
    """Return the verifier key in a file. Raises UserError when there is none or it is a private key."""
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the verifier key at {path} cannot be read: {error}") from None
    return parse_verifier(text, str(path))


def parse_verifier(text: str, where: str) -> Verifier:
    """Return the verifier key in ``text``. Raises UserError; a private key is refused by name."""
    if text.startswith("PRIVATE+KEY+"):
        raise UserError(f"{where} is a private key: a verifier takes the public one (`procurator keys show`)")
    try:
        return Verifier.parse(text)
    except CheckpointError as error:
        raise UserError(f"{where} is no verifier key: {error}") from None


def ensure_signer(path: Path) -> Signer:
    """Return the key in a file, generating it first if there is none."""
    if not path.exists():
        install_signer(path, Signer.generate(KEY_NAME))
    signer = load_signer(path)
    _write_public(path, signer)
    return signer


def install_signer(path: Path, signer: Signer) -> None:
    """Put a key into a file unless one is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    create_file(path, _text(signer))


def public_path(path: Path) -> Path:
    """Return where the verifier key of the key at ``path`` stands."""
    return path.with_name(f"{path.name}.pub")


def next_path(path: Path) -> Path:
    """Return where the key that replaces the one at ``path`` waits."""
    return path.with_name(f"{path.name}.next")


def prepare_next(path: Path, given: Signer | None = None) -> Signer:
    """Put the next key beside the present one. Raises UserError when a rotation is under way already."""
    current, signer = load_signer(path), given or Signer.generate(KEY_NAME)
    if signer.seed == current.seed:
        raise UserError("the new key is the present one")
    if not create_file(next_path(path), _text(signer)):
        raise UserError(f"a rotation is under way: {next_path(path)} waits for the signer")
    return signer


def promote_next(path: Path) -> None:
    """Make the next key the present one. Dying in between repeats it; there is a present key at any time."""
    current = load_signer(path)
    retired = path.with_name(f"{path.name}.{current.verifier.key_id.hex()}.retired")
    create_file(retired, _text(current))
    os.replace(next_path(path), path)
    _write_public(path, load_signer(path))


def _write_public(path: Path, signer: Signer) -> None:
    text = f"{signer.verifier}\n".encode()
    public = public_path(path)
    if not public.exists() or public.read_bytes() != text:
        replace_file(public, text)
        public.chmod(0o644)


def _text(signer: Signer) -> bytes:
    return f"{signer.secret_text()}\n".encode()
