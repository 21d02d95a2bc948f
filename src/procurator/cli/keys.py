"""``procurator keys``: the ledger's signing key."""

from pathlib import Path
from typing import Annotated

import typer

from procurator.cli import console

keys_app = typer.Typer(no_args_is_help=True, help="The ledger's signing key: show, generate, rotate.")
Given = Annotated[
    Path | None, typer.Option("--from", help="A file with the key to use instead of a new one.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why; it is recorded in the ledger.")]
Revoke = Annotated[bool, typer.Option("--revoke", help="The old key must no longer be trusted at all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys_app, name="keys")


@keys_app.command()
def show() -> None:
    """Print the verifier key: what an auditor needs, and may have."""
    from procurator.config import settings
    from procurator.key_files import load_verifier, public_path

    print(load_verifier(public_path(settings().signing_key)))


@keys_app.command()
def generate(given: Given = None) -> None:
    """Generate the signing key, or take a given one; print the verifier key. An existing key is never replaced."""
    from procurator.config import settings
    from procurator.errors import UserError
    from procurator.key_files import ensure_signer, install_signer, load_signer

    path = settings().signing_key
    if path.exists():
        raise UserError(f"there is a signing key at {path}: `procurator keys rotate` replaces it")
    if given:
        install_signer(path, load_signer(given))
    print(ensure_signer(path).verifier)
    console.print(f"the private key is in {path}: keep a copy in a safe place", highlight=False, soft_wrap=True)


@keys_app.command()
def rotate(reason: Reason, revoke: Revoke = False, given: Given = None) -> None:
    """Replace the signing key: the signer records it, signs once with both, then with the new one alone."""
    from procurator.config import settings
    from procurator.control_entries import KEY_ROTATION
    from procurator.key_files import load_signer, prepare_next
    from procurator.signer.requests import ask
    from procurator.signer.service import config_of

    config = config_of(settings())
    old = load_signer(config.key_file).verifier
    new = prepare_next(config.key_file, load_signer(given) if given else None).verifier
    rotation = {"old_key": str(old), "new_key": str(new), "revoked": revoke, "reason": reason}
    ask(config.requests_folder, KEY_ROTATION, rotation)
    print(new)
    console.print("the signer changes over with its next epoch", highlight=False)
