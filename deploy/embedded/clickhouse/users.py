"""Who may come in: the users file, and the check of a name and a password.

The file is JSON, `{"users": {NAME: {"password_sha256": HEX, "role": ROLE}}}`, and is read again when it changes. A
file that cannot be read at start is an error; one that breaks later leaves the users as they were.
"""

import hashlib
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from procurator.deploy.embedded.clickhouse.wire import ClickHouseError
from procurator.errors import UserError


class Role(StrEnum):
    """What a user may do; `policy` says it in full."""

    ADMIN = "admin"
    WRITER = "writer"
    READER = "reader"
    FINOPS = "finops"
    PURGER = "purger"


@dataclass(frozen=True)
class User:
    """One user of the file."""

    name: str
    password_sha256: str
    role: Role


def parse_users(text: str, where: str) -> dict[str, User]:
    """Parse the file.

    Raises:
        UserError: naming the file and what is wrong in it.
    """
    try:
        entries = json.loads(text)["users"]
        users = {
            name: User(name, bytes.fromhex(entry["password_sha256"]).hex(), Role(entry["role"]))
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{where}: not a users file ({error!r}); expected {{"users": {{NAME: {{"password_sha256": HEX, '
            f'"role": "{"|".join(Role)}"}}}}}}'
        ) from error
    if short := [name for name, user in users.items() if len(user.password_sha256) != 64]:
        raise UserError(f"{where}: password_sha256 of {', '.join(short)} is not 64 hexadecimal digits")
    return users


class Users:
    """The users of a file, read again when its modification time changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, User] = {}
        self._read()

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._stamp:
                self._users = parse_users(self._path.read_text(), str(self._path))
                self._stamp = stamp
        except OSError as error:
            raise UserError(f"{self._path}: cannot read the users file: {error.strerror}") from error

    def authenticate(self, name: str | None, password: str | None) -> User:
        """The user of that name and password.

        Raises:
            ClickHouseError: 516, with status 401 if no credentials came and 403 if they are wrong.
        """
        if name is None:
            why = "Authentication failed: user name and password are required"
            raise ClickHouseError(516, why, "AUTHENTICATION_FAILED", http_status=401)
        with suppress(UserError):  # half-written: the next request looks again
            self._read()
        given = hashlib.sha256((password or "").encode()).hexdigest()
        user = self._users.get(name)
        if user is None or not hmac.compare_digest(user.password_sha256, given):
            raise ClickHouseError(
                516,
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
                "AUTHENTICATION_FAILED",
            )
        return user
