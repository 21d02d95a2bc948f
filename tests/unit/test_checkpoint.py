"""The checkpoint's text against the example of c2sp.org/tlog-checkpoint, and every refusal."""

import subprocess
import sys
from base64 import b64decode
from typing import Any

import pytest

from procurator.checkpoint import (
    Checkpoint,
    CheckpointError,
    Signer,
    open_checkpoint,
    parse_checkpoint,
    render_checkpoint,
    sign_checkpoint,
    sign_note,
)
from procurator.merkle import EMPTY_ROOT

ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
EXAMPLE = f"example.com/behind-the-sofa\n20852163\n{ROOT}\n"
CHECKPOINT = Checkpoint("example.com/behind-the-sofa", 20852163, b64decode(ROOT))
SIGNER = Signer("ledger.example", bytes(range(32)))


def test_the_example_of_the_specification() -> None:
    assert parse_checkpoint(EXAMPLE) == CHECKPOINT
    assert render_checkpoint(CHECKPOINT) == EXAMPLE


def test_extension_lines_are_kept() -> None:
    checkpoint = parse_checkpoint(f"{EXAMPLE}one\n two \n")
    assert checkpoint.extensions == ("one", " two ")
    assert render_checkpoint(checkpoint) == f"{EXAMPLE}one\n two \n"


def test_trees_of_no_and_one_leaf() -> None:
    empty = Checkpoint("o", 0, EMPTY_ROOT)
    assert parse_checkpoint(render_checkpoint(empty)) == empty
    assert parse_checkpoint(f"o\n1\n{ROOT}\n").size == 1


def test_a_signed_checkpoint_is_pinned() -> None:
    """Ed25519 is deterministic, so the bytes of a note never change."""
    note = sign_checkpoint(CHECKPOINT, SIGNER)
    signature = "057Nwlbha/V7K+0nOUyOYWY2eeqkJO0R/8eVdJBP1U6klJ63rYHH36AjiNbqMeYZ5wXtNMpYFqOQG4s/igFrnBBp3AU="
    assert note.decode() == f"{EXAMPLE}\n— ledger.example {signature}\n"
    assert open_checkpoint(note, CHECKPOINT.origin, [SIGNER.verifier]) == CHECKPOINT


LINES = "checkpoint must be lines of origin, size and root, each ended by a newline"
SIZE = "checkpoint size must be a decimal number without sign or leading zeros"
NOT_EMPTY = "origin and extensions of a checkpoint are lines of text, none of them empty"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", LINES),
        ("o\n1\n", LINES),
        (EXAMPLE[:-1], LINES),
        (f"{EXAMPLE}extension", LINES),
        (f"\n1\n{ROOT}\n", NOT_EMPTY),
        (f"{EXAMPLE}\n", NOT_EMPTY),
        (f"{EXAMPLE}one\n\ntwo\n", NOT_EMPTY),
        (f"o\n01\n{ROOT}\n", SIZE),
        (f"o\n+1\n{ROOT}\n", SIZE),
        (f"o\n-1\n{ROOT}\n", SIZE),
        (f"o\n 1\n{ROOT}\n", SIZE),
        (f"o\n1_0\n{ROOT}\n", SIZE),
        (f"o\n1e3\n{ROOT}\n", SIZE),
        (f"o\n\u0661\n{ROOT}\n", SIZE),
        (f"o\n\n{ROOT}\n", SIZE),
        (f"o\n{'9' * 5000}\n{ROOT}\n", SIZE),
        (f"o\n{2**63}\n{ROOT}\n", "checkpoint size must be an integer from 0 to 2^63 - 1"),
        (f"o\n0\n{ROOT}\n", "checkpoint of an empty tree must have the empty tree's root"),
        ("o\n1\nYmFuYW5hcw==\n", "checkpoint root must be 32 bytes"),
        ("o\n1\n\n", "checkpoint root is not canonical base64"),
        (f"o\n1\n{ROOT[:-1]}\n", "checkpoint root is not canonical base64"),
        (f"o\n1\n{ROOT[:-2]}J=\n", "checkpoint root is not canonical base64"),
        (f"o\n1\n{ROOT} \n", "checkpoint root is not canonical base64"),
        (f"o\n1\n{ROOT.replace('/', '_')}\n", "checkpoint root is not canonical base64"),
        (f"o\r\n1\n{ROOT}\n", "control character '\\r' at character 1"),
        ("o\n1\n\u00e9\n", "checkpoint root is not canonical base64"),
        (None, "note text must be a string"),
    ],
)
def test_malformed_checkpoints_are_refused(text: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("", 1, bytes(32)), NOT_EMPTY),
        (("a\nb", 1, bytes(32)), NOT_EMPTY),
        (("o", 1, bytes(32), ["list"]), NOT_EMPTY),
        (("o", 1, bytes(32), ("",)), NOT_EMPTY),
        (("o", True, bytes(32)), "checkpoint size must be an integer from 0 to 2^63 - 1"),
        (("o", 1, bytes(31)), "checkpoint root must be 32 bytes"),
        (("o\x00", 1, bytes(32)), "control character '\\x00' at character 1"),
    ],
)
def test_a_checkpoint_that_breaks_the_format_cannot_be_made(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(*fields)
    assert str(caught.value) == message


def test_a_checkpoint_of_another_ledger_is_refused() -> None:
    note = sign_checkpoint(CHECKPOINT, SIGNER)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(note, "ledger.example", [SIGNER.verifier])
    assert str(caught.value) == "checkpoint is of 'example.com/behind-the-sofa', not of 'ledger.example'"


def test_a_signed_note_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(sign_note("hello\n", SIGNER), "hello", [SIGNER.verifier])
    assert str(caught.value) == LINES


def test_importing_the_kernel_loads_no_cryptography() -> None:
    code = "import sys, procurator.checkpoint; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
