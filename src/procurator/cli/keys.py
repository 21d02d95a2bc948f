"""``procurator keys``: keys of the API: create, list, revoke; the ledger's signing key: show, generate, rotate."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from procurator.cli import console

keys_app = typer.Typer(no_args_is_help=True, help="Keys of the API, and the ledger's signing key.")
_OF_API, _OF_SIGNER = "Keys of the API", "The ledger's signing key"

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Given = Annotated[
    Path | None, typer.Option("--from", help="A file with the key to use instead of a new one.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why; it is recorded in the ledger.")]
Revoke = Annotated[bool, typer.Option("--revoke", help="The old key must no longer be trusted at all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys_app, name="keys")


@keys_app.command(rich_help_panel=_OF_API)
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    permission: Annotated[list[str], typer.Option(help="What it may do, for example sessions:read; may be repeated.")],
    team: Annotated[list[str] | None, typer.Option(help="An owner team whose sessions it reaches.")] = None,
    org: Annotated[str | None, typer.Option(help="Its organisation; needed with the admin key.")] = None,
    days: Annotated[int, typer.Option(help="It opens nothing after so many days; 0 never expires.")] = 90,
    every_organisation: Annotated[bool, typer.Option("--every-organisation", help="An operator's key.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key of the API and print it, this once: only its digest is kept."""
    from procurator.api_client import call
    from procurator.config import settings

    body = {
        "name": name,
        "permissions": permission,
        "owner_team_ids": team or [],
        "org_id": org,
        "expires_in_days": days or None,
        "every_organisation": every_organisation,
    }
    made = call(settings(), "POST", "/v1/keys", body)
    print(json.dumps(made, indent=2) if as_json else made["key"])
    until = made["expires_at"] or "it is revoked"
    console.print(
        f"key {made['key_id']} opens until {until}; it cannot be shown again", highlight=False, soft_wrap=True
    )


@keys_app.command(name="list", rich_help_panel=_OF_API)
def list_keys(as_json: Json = False) -> None:
    """List the keys of the API, newest first; never a secret."""
    from procurator.api_client import call
    from procurator.config import settings

    keys = call(settings(), "GET", "/v1/keys")["items"]
    if as_json:
        print(json.dumps(keys, indent=2))
    else:
        _print_table(keys)


@keys_app.command(rich_help_panel=_OF_API)
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")]) -> None:
    """Revoke a key of the API for good: every API process knows within a second."""
    from procurator.api_client import call
    from procurator.config import settings

    key = call(settings(), "DELETE", f"/v1/keys/{key_id}")
    console.print(f"key {key['key_id']} ({key['name']}) opens nothing any more", highlight=False, soft_wrap=True)


@keys_app.command(rich_help_panel=_OF_SIGNER)
def show() -> None:
    """Print the verifier key: what an auditor needs, and may have."""
    from procurator.config import settings
    from procurator.key_files import load_verifier, public_path

    print(load_verifier(public_path(settings().signing_key)))


@keys_app.command(rich_help_panel=_OF_SIGNER)
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


@keys_app.command(rich_help_panel=_OF_SIGNER)
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


def _print_table(keys: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("key", "name", "organisation", "teams", "permissions", "state", "expires")
    for key in keys:
        cells = (
            *(key["key_id"], key["name"], key["org_id"] or "every", ", ".join(key["owner_team_ids"])),
            *(", ".join(key["permissions"]), key["state"], (key["expires_at"] or "never")[:10]),
        )
        table.add_row(*map(escape, cells))
    Console().print(table)
