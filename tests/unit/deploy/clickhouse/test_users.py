"""The users file."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from procurator.deploy.embedded.clickhouse.users import Role, Users, parse_users
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError
from procurator.errors import UserError


def _write(path: Path, password: str, mtime_s: int) -> None:
    digest = hashlib.sha256(password.encode()).hexdigest()
    path.write_text(json.dumps({"users": {"w": {"password_sha256": digest, "role": "writer"}}}))
    os.utime(path, (mtime_s, mtime_s))


def test_a_user_comes_in_with_the_password_alone(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    _write(path, "secret", 1)
    users = Users(path)
    assert users.authenticate("w", "secret").role is Role.WRITER
    for name, password, status in (("w", "wrong", 403), ("w", None, 403), ("nobody", "secret", 403), (None, None, 401)):
        with pytest.raises(ClickHouseError) as error:
            users.authenticate(name, password)
        assert (error.value.code, error.value.status) == (516, status)


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    _write(path, "one", 1)
    users = Users(path)
    _write(path, "two", 2)
    assert users.authenticate("w", "two").name == "w"
    path.write_text('{"users": {"w"')
    assert users.authenticate("w", "two").name == "w"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"users": []}',
        '{"users": {"a": {"role": "admin"}}}',
        '{"users": {"a": {"password_sha256": "zz", "role": "admin"}}}',
        '{"users": {"a": {"password_sha256": "00", "role": "admin"}}}',
        '{"users": {"a": {"password_sha256": "00", "role": "god"}}}',
    ],
)
def test_a_bad_file_is_told_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^users\.json: ") as error:
        parse_users(text, "users.json")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the users file"):
        Users(tmp_path / "none")
