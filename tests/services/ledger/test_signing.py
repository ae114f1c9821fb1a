"""The signing key and the checkpoint files outside of the database."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import FailedPrecondition, InvalidInput
from services.ledger.checkpoint import checkpoint_problems, note_text, parse_note, sign
from services.ledger.signing import KEY_FILE, CheckpointFiles, load_key, load_or_create_key
from tests.services.ledger.helpers import POSTED_AT, TOWN_UID

ROOT = bytes(range(32))


def test_a_key_is_made_once_and_kept_to_the_service(tmp_path: Path) -> None:
    made = load_or_create_key(tmp_path / "data")
    again = load_or_create_key(tmp_path / "data")
    assert made.private_bytes_raw() == again.private_bytes_raw()
    assert stat.S_IMODE((tmp_path / "data" / KEY_FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "data") == [KEY_FILE]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(FailedPrecondition, match="can be read by others"):
        load_or_create_key(tmp_path)


def test_a_file_that_holds_no_such_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        load_key(file)
    file.write_text("no key")
    with pytest.raises(FailedPrecondition, match="not an unencrypted private key"):
        load_key(file)
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(pem)
    with pytest.raises(FailedPrecondition, match="not of Ed25519"):
        load_key(file)


def test_a_checkpoint_is_a_signed_note_that_anybody_can_check() -> None:
    key = Ed25519PrivateKey.generate()
    made = sign(key, TOWN_UID, 7, ROOT, POSTED_AT)
    assert made.note == f"{TOWN_UID}\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    Ed25519PublicKey.from_public_bytes(made.public_key).verify(made.signature, made.note.encode())
    assert checkpoint_problems(made, TOWN_UID, {made.public_key}) == []
    assert checkpoint_problems(made, "f" * 32) == [f"it is of another log ({TOWN_UID})"]
    assert checkpoint_problems(replace(made, tree_size=8), TOWN_UID) == [
        "its note says another origin, size or root than it does"
    ]
    assert "its signature does not hold" in checkpoint_problems(replace(made, public_key=b"short"), TOWN_UID)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "x\n1\n",
        note_text("x", 1, ROOT).replace("\n1\n", "\n01\n"),
        "x\n1\nAAAA\n",
        "x\n1\n!\n",
        "\n1\nAAAA\n",
        note_text("x", 1, ROOT) + "more\n",
        note_text("x", 1, ROOT)[:-1],
    ],
)
def test_another_form_of_a_note_is_refused(note: str) -> None:
    with pytest.raises(InvalidInput):
        parse_note(note)


def test_a_file_keeps_every_checkpoint_once_in_order(tmp_path: Path) -> None:
    key, files = Ed25519PrivateKey.generate(), CheckpointFiles(tmp_path)
    heads = [sign(key, TOWN_UID, size, ROOT, POSTED_AT) for size in range(1, 6)]
    assert files.largest_size(TOWN_UID) == -1
    files.append(TOWN_UID, heads[:2])
    files.append(TOWN_UID, [heads[3], heads[2], heads[1]])
    files.append(TOWN_UID, [])
    assert files.largest_size(TOWN_UID) == 4
    assert files.read(TOWN_UID) == (heads[:4], [])
    assert files.read("another")[0] == []


def test_a_line_that_a_crash_left_unfinished_is_written_anew(tmp_path: Path) -> None:
    key, files = Ed25519PrivateKey.generate(), CheckpointFiles(tmp_path)
    heads = [sign(key, TOWN_UID, size, ROOT, POSTED_AT) for size in (1, 2)]
    files.append(TOWN_UID, heads)
    path = files.path_of(TOWN_UID)
    path.write_bytes(path.read_bytes()[:-40])
    assert files.read(TOWN_UID) == (heads[:1], [])
    assert files.largest_size(TOWN_UID) == 1
    files.append(TOWN_UID, heads)
    assert files.read(TOWN_UID) == (heads, [])


def test_lines_that_somebody_spoilt_are_told_and_do_not_stop_the_file(tmp_path: Path) -> None:
    key, files = Ed25519PrivateKey.generate(), CheckpointFiles(tmp_path)
    heads = [sign(key, TOWN_UID, size, ROOT, POSTED_AT) for size in (1, 2, 3)]
    files.append(TOWN_UID, heads[:2])
    path = files.path_of(TOWN_UID)
    with path.open("a") as file:
        file.write("spoilt\n[]\n" + json.dumps({"origin": 1}) + "\n")
    assert files.largest_size(TOWN_UID) == 2
    files.append(TOWN_UID, heads)
    found, problems = files.read(TOWN_UID)
    assert found == heads
    assert [problem.split(":")[0] for problem in problems] == [f"checkpoint file, line {n}" for n in (3, 4, 5)]
