"""The admin key and the passwords of a data directory."""

import hashlib
import json
import stat
from pathlib import Path

import pytest

from procurator.deploy.embedded.credentials import USERS, load_or_create, write_private
from procurator.errors import UserError


def test_they_are_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made, new = load_or_create(path, "")
    again, new_again = load_or_create(path, "another key")
    assert (new, new_again) == (True, False)
    assert again == made
    assert len({made.admin_key, *made.passwords.values()}) == 1 + len(USERS)
    assert min(len(secret) for secret in (made.admin_key, *made.passwords.values())) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_given_admin_key_is_taken(tmp_path: Path) -> None:
    made, _ = load_or_create(tmp_path / "credentials.json", "given")
    assert made.admin_key == made.password("admin") == "given"


def test_the_users_file_has_hashes_and_roles_and_no_password(tmp_path: Path) -> None:
    made, _ = load_or_create(tmp_path / "credentials.json", "")
    text = made.users_file()
    users = json.loads(text)["users"]
    assert set(users) == {"admin", *USERS}
    for name, user in users.items():
        assert user["role"] == name
        assert user["password_sha256"] == hashlib.sha256(made.password(name).encode()).hexdigest()
        assert made.password(name) not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"admin_key": "k", "passwords": {}}', "\x00"])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"credentials.json is damaged; restore it, or remove it"):
        load_or_create(path, "")


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text("old")
    path.chmod(0o644)
    path.with_name("users.json.part").write_text("left by a crash")
    write_private(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]
