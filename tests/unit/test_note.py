"""Signed notes and their keys against the examples of golang.org/x/mod/sumdb/note (note_test.go, BSD) and C2SP."""

from collections.abc import Callable
from typing import Any

import pytest

from procurator.note import Note, open_note, read_note, sign_note
from procurator.note_keys import CheckpointError, Signer, Verifier

PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_PUBLIC = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PETER = Verifier.parse(PETER_PUBLIC)
ENOCH = Verifier.parse(ENOCH_PUBLIC)
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
BY_PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
BY_ENOCH = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
SIGNED = f"{TEXT}\n{BY_PETER}"


def test_keys_are_written_as_they_were_read() -> None:
    signer = Signer.parse(PETER_SECRET)
    assert signer.secret_text() == PETER_SECRET
    assert str(signer.verifier) == str(PETER) == PETER_PUBLIC
    assert PETER_SECRET.rpartition("+")[2] not in repr(signer)
    assert str(signer.seed) not in repr(signer)


@pytest.mark.parametrize(("parse", "text"), [(Signer.parse, PETER_SECRET), (Verifier.parse, PETER_PUBLIC)])
def test_no_part_and_no_misprint_of_a_key_is_a_key(parse: Callable[[str], object], text: str) -> None:
    parts = {text[start:end] for start in range(len(text)) for end in range(start + 1, len(text) + 1)} - {text}
    misprints = {f"{text[:place]}{chr(ord(text[place]) + 1)}{text[place + 1 :]}" for place in range(len(text))}
    for bad in parts | misprints:
        with pytest.raises(CheckpointError):
            parse(bad)


def test_signing_gives_the_known_note() -> None:
    assert sign_note(TEXT, Signer.parse(PETER_SECRET)).decode() == SIGNED


def test_the_example_of_the_specification() -> None:
    verifier = Verifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n— example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert open_note(note.encode(), [verifier]) == "This is an example message.\n"


@pytest.mark.parametrize(
    ("signatures", "known", "by"),
    [
        (BY_PETER, [PETER], (PETER,)),
        (BY_PETER + BY_ENOCH, [PETER], (PETER,)),
        (BY_PETER + BY_ENOCH, [ENOCH, PETER], (PETER, ENOCH)),
        (BY_PETER * 2 + BY_ENOCH * 2, [PETER], (PETER,)),
        (BY_PETER, [PETER, ENOCH, ENOCH], (PETER,)),
        (BY_PETER * 100, [PETER], (PETER,)),
    ],
)
def test_signatures_of_strangers_are_ignored(signatures: str, known: list[Verifier], by: tuple[Verifier, ...]) -> None:
    assert read_note(f"{TEXT}\n{signatures}".encode(), known) == Note(TEXT, by)


def test_a_text_may_have_empty_lines_of_its_own() -> None:
    signer = Signer.generate("ledger.example/è")
    for text in ("\n", "one\n\ntwo\n", f"{TEXT}\n{BY_PETER}", "ends empty\n\n"):
        assert open_note(sign_note(text, signer), [signer.verifier]) == text


ONE_LINE = "signature line must be an em dash, a key name and base64, with spaces between"
THREE_PARTS = "note must be text, an empty line and signature lines, ended by a newline"
BAD_NAME = "a key name must be text without spaces or plus signs"


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("", THREE_PARTS),
        (TEXT, THREE_PARTS),
        (f"{TEXT}\n", THREE_PARTS),
        (SIGNED[:-1], THREE_PARTS),
        (f"{SIGNED}\n", THREE_PARTS),
        (f"{SIGNED}Unexpected line.\n", ONE_LINE),
        (f"{SIGNED} \n", ONE_LINE),
        (SIGNED.replace("— ", "- "), ONE_LINE),
        (SIGNED.replace("— ", "—  "), BAD_NAME),
        (f"{SIGNED}— Bad+Name AAAAAAA=\n", BAD_NAME),
        (f"{SIGNED}— No\u00a0break AAAAAAA=\n", BAD_NAME),
        (f"{SIGNED}— Name AAAAAA==\n", "signature is too short"),
        (f"{SIGNED}— Name \n", "signature is not canonical base64"),
        (f"{SIGNED}— Name AAAAAAA=A\n", "signature is not canonical base64"),
        (SIGNED.replace("nAM=", "nAN="), "signature is not canonical base64"),
        (SIGNED.replace("nAM=", "nAM"), "signature is not canonical base64"),
        (SIGNED.replace("nAM=", "nAM= "), "signature is not canonical base64"),
        (SIGNED.replace("x08go/", "x08go_"), "signature is not canonical base64"),
        (SIGNED.replace("\n", "\r\n"), "control character '\\r' at character 56"),
        (f"\x01{SIGNED}", "control character '\\x01' at character 0"),
        (b"\xff" + SIGNED.encode(), "note is not UTF-8 at byte 0"),
        (SIGNED.encode().replace(b"you", b"y\xc0\xafu", 1), "note is not UTF-8 at byte 4"),
        (SIGNED.encode("utf-16"), "note is not UTF-8 at byte 0"),
        (SIGNED.replace("answer", "Answer"), "signature of PeterNeumann+c74f20a3 does not verify"),
        (SIGNED.replace("nAM=", "nBM="), "signature of PeterNeumann+c74f20a3 does not verify"),
        (f"{TEXT}\n— PeterNeumann x08go/ZJ\n", "signature of PeterNeumann+c74f20a3 does not verify"),
        (SIGNED + BY_PETER.replace("/ZJ", "/ZK"), "signature of PeterNeumann+c74f20a3 does not verify"),
        (f"{TEXT}\n{BY_ENOCH}", "note is not signed by any known key"),
        (SIGNED.replace("— PeterNeumann", "— Peter"), "note is not signed by any known key"),
        (SIGNED.replace(" x08g", " x08h"), "note is not signed by any known key"),
        (f"{TEXT}\n{BY_PETER * 101}", "note has more than 100 signatures"),
        ("A" * 1_000_001, "note of 1000001 bytes is longer than 1000000"),
        (None, "a note must be bytes"),
        (bytearray(SIGNED.encode()), "a note must be bytes"),
    ],
)
def test_a_malformed_or_unsigned_note_is_refused(note: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_note(note.encode() if type(note) is str else note, [PETER])
    assert str(caught.value) == message


def test_two_known_keys_of_one_name_and_id_are_an_error_when_they_matter() -> None:
    with pytest.raises(CheckpointError, match=r"^more than one known key is EnochRoot\+af0cfe78$"):
        open_note(f"{TEXT}\n{BY_ENOCH}".encode(), [ENOCH, PETER, ENOCH])


KEY_REFUSALS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (Verifier.parse, (None,), "verifier key must be text"),
    (Verifier.parse, ("name",), "verifier key must be name+8 hex digits+base64"),
    (Verifier.parse, (PETER_PUBLIC.replace("c74f", "C74F"),), "verifier key must be name+8 hex digits+base64"),
    (Verifier.parse, (PETER_PUBLIC.replace("c74f", "c740"),), "key of PeterNeumann has id c74f20a3, not c74020a3"),
    (Verifier.parse, (PETER_PUBLIC.replace("+ARpc", "+ZRpc"),), "verifier key is not an Ed25519 key"),
    (Verifier.parse, (f"{PETER_PUBLIC}BADKEY==",), "verifier key is not canonical base64"),
    (Verifier.parse, (PETER_PUBLIC.replace("Peter", "Peter "),), BAD_NAME),
    (Verifier, ("name", b"short"), "an Ed25519 key must be 32 bytes"),
    (Signer, ("", bytes(32)), BAD_NAME),
    (Signer, ("na\x7fme\x00", bytes(32)), "control character '\\x00' at character 5"),
    (Signer, ("\ud800", bytes(32)), "text that UTF-8 cannot carry (a lone surrogate)"),
    (Signer.parse, (PETER_PUBLIC,), "signer key must start with 'PRIVATE+KEY+'"),
    (sign_note, (TEXT,), "a note has from 1 to 100 signatures, not 0"),
    (sign_note, (TEXT[:-1], Signer.parse(PETER_SECRET)), "note text must end with a newline"),
    (sign_note, ("a\tb\n", Signer.parse(PETER_SECRET)), "control character '\\t' at character 1"),
    (sign_note, (b"bytes\n", Signer.parse(PETER_SECRET)), "note text must be a string"),
    (sign_note, ("A" * 10**6 + "\n", Signer.parse(PETER_SECRET)), "note of 1000112 bytes is longer than 1000000"),
]


@pytest.mark.parametrize(("call", "arguments", "message"), KEY_REFUSALS)
def test_refusals(call: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        call(*arguments)
    assert str(caught.value) == message
