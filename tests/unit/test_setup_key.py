"""`procurator setup` has a signing key, which nobody else may read, and leaves one that is there."""

import stat
from pathlib import Path

from procurator.cli.setup import signing_key
from procurator.config import Settings
from procurator.key_files import load_signer


def test_setup_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    said = signing_key(settings)
    key = settings.signing_key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert str(load_signer(key).verifier) in said
    assert signing_key(settings) == said


def test_where_the_signer_is_elsewhere_setup_leaves_it_the_key(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, so that no folder can be made")
    assert signing_key(Settings(data_dir=tmp_path / "data")).startswith("left to the signer: ")
