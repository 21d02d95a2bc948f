"""IO: the admin key and the passwords of one data directory: made at the first start, kept from then on."""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from procurator.errors import UserError

#: ClickHouse users beside ``admin``; each has the role of its name (design: roles from the first migration).
USERS = ("writer", "reader", "finops", "purger")


@dataclass(frozen=True)
class Credentials:
    """``admin_key`` is also the password of ClickHouse's user ``admin``; ``passwords`` has the others'."""

    admin_key: str
    passwords: dict[str, str]

    def password(self, user: str) -> str:
        """Return the ClickHouse password of a user."""
        return self.admin_key if user == "admin" else self.passwords[user]

    @property
    def webhook_key(self) -> str:
        """What seals the secrets of webhooks: follows from the admin key, and tells nothing of it."""
        return hmac.new(self.admin_key.encode(), b"procurator webhooks", "sha256").hexdigest()

    def users_file(self) -> str:
        """Return what the ClickHouse endpoint reads: users with the hash of their password and their role."""
        users = {
            user: {"password_sha256": hashlib.sha256(self.password(user).encode()).hexdigest(), "role": user}
            for user in ("admin", *USERS)
        }
        return json.dumps({"users": users}, indent=2)


def load_or_create(path: Path, admin_key: str) -> tuple[Credentials, bool]:
    """Return the credentials at ``path`` and whether they were made just now, with ``admin_key`` or a new one.

    Raises UserError when the file is damaged.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        credentials = Credentials(stored["admin_key"], {user: stored["passwords"][user] for user in USERS})
    except FileNotFoundError:
        key = admin_key or f"procurator_{secrets.token_urlsafe(32)}"
        credentials = Credentials(key, {user: secrets.token_urlsafe(24) for user in USERS})
        write_private(path, json.dumps(asdict(credentials), indent=2))
        return credentials, True
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged; restore it, or remove it to get new credentials") from None
    return credentials, False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f"{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
