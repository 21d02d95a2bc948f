"""Signing keys on disk: who may read them, and how one follows another."""

import os
from pathlib import Path

import pytest

from procurator.errors import UserError
from procurator.key_files import (
    ensure_signer,
    load_signer,
    load_verifier,
    next_path,
    parse_verifier,
    prepare_next,
    promote_next,
    public_path,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sign" / "key"
    ensure_signer(path)
    return path


def test_a_key_is_generated_once_for_its_owner_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert ensure_signer(path) == load_signer(path)
    assert load_verifier(public_path(path)) == load_signer(path).verifier


def test_a_key_that_others_may_read_is_refused(path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(UserError, match="open to others"):
        load_signer(path)


def test_what_is_no_key_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no signing key at .*: run `procurator keys generate`"):
        load_signer(tmp_path / "none")
    path.write_text("not a key")
    with pytest.raises(UserError, match="is no signing key"):
        load_signer(path)


def test_a_verifier_takes_no_private_key(path: Path) -> None:
    with pytest.raises(UserError, match="is a private key"):
        load_verifier(path)
    with pytest.raises(UserError, match="is no verifier key"):
        parse_verifier("a+00000000+AAAA", "--key")


def test_the_next_key_takes_over_and_the_old_one_is_kept(path: Path) -> None:
    old = load_signer(path)
    new = prepare_next(path)
    with pytest.raises(UserError, match="a rotation is under way"):
        prepare_next(path)
    assert load_signer(path) == old
    promote_next(path)
    assert load_signer(path) == new
    assert load_verifier(public_path(path)) == new.verifier
    assert not next_path(path).exists()
    retired = path.with_name(f"key.{old.verifier.key_id.hex()}.retired")
    assert load_signer(retired) == old


def test_the_present_key_is_no_next_one(path: Path) -> None:
    with pytest.raises(UserError, match="the new key is the present one"):
        prepare_next(path, load_signer(path))
    assert os.listdir(path.parent).count("key.next") == 0
