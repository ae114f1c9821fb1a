"""The signing key and the checkpoint files: what of the ledger lies outside of its database, on disk.

A checkpoint file holds one checkpoint per line (JSON, checkpoint.py), only ever appended to and flushed to the disk. It
is there to be copied away: a log that is rewritten together with its database still does not fit a copy of the file.
"""

import fcntl
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.errors import FailedPrecondition, InvalidInput
from services.ledger.checkpoint import Checkpoint, checkpoint_from_json, checkpoint_to_json
from services.ledger.fields import Fields

KEY_FILE: Final = "ledger-signing-key.pem"
CHECKPOINT_FOLDER: Final = "checkpoints"
_TAIL_BYTES: Final = 8192


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file (PKCS #8). Raises FailedPrecondition where it cannot serve."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise FailedPrecondition(f"the signing key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FailedPrecondition(f"the signing key {path} is not an unencrypted private key in PEM format") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FailedPrecondition(f"the signing key {path} is not of Ed25519")
    return key


def load_or_create_key(data_dir: Path) -> Ed25519PrivateKey:
    """The key in the data folder, made at the first start, for nobody's eyes but the service's (0600)."""
    path = data_dir / KEY_FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_key(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise FailedPrecondition(f"the signing key {path} can be read by others: chmod 600 it, and think of a new one")
    return load_key(path)


def _create_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Written aside and linked: of two that start at once one wins, and nobody ever sees half a key.
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    _sync_folder(path.parent)


class CheckpointFiles:
    """One file per log in data_dir/checkpoints. Blocking: call it in a thread."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / CHECKPOINT_FOLDER

    def path_of(self, origin: str) -> Path:
        """The file of a log."""
        return self.folder / f"{origin}.jsonl"

    def largest_size(self, origin: str) -> int:
        """Size of the largest checkpoint in the file; -1 for none. Lines that cannot be read count as none."""
        lines = _last_lines(self.path_of(origin))
        try:
            return _read_line(lines[-1]).tree_size if lines else -1
        except InvalidInput:
            found, _ = self.read(origin)
            return max((checkpoint.tree_size for checkpoint in found), default=-1)

    def read(self, origin: str) -> tuple[list[Checkpoint], list[str]]:
        """The checkpoints of a file, and what is wrong with its lines, in words."""
        found: list[Checkpoint] = []
        problems: list[str] = []
        try:
            text = self.path_of(origin).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return found, problems
        # What stands after the last line feed is a line that was never finished: the next append overwrites it.
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            try:
                found.append(_read_line(line.encode("utf-8")))
            except InvalidInput as error:
                problems.append(f"checkpoint file, line {number}: {error}")
        return found, problems

    def append(self, origin: str, checkpoints: Sequence[Checkpoint]) -> None:
        """Appends checkpoints of more leaves than the file knows of, and flushes them to the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path_of(origin)
        is_new = not path.exists()
        with path.open("ab") as file:
            # Two replicas on one volume take turns.
            fcntl.flock(file, fcntl.LOCK_EX)
            known = self.largest_size(origin)
            fresh = [checkpoint for checkpoint in checkpoints if checkpoint.tree_size > known]
            if not fresh:
                return
            _drop_unfinished_line(path)
            for checkpoint in sorted(fresh, key=lambda each: each.tree_size):
                line = json.dumps(checkpoint_to_json(checkpoint), separators=(",", ":"), ensure_ascii=False)
                file.write(line.encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.folder)


def _read_line(line: bytes) -> Checkpoint:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("checkpoint", f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput.of("checkpoint", "not an object")
    return checkpoint_from_json(Fields(value, "checkpoint"))


def _last_lines(path: Path) -> list[bytes]:
    """The whole lines in the last few kilobytes of a file, the last one at the end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _drop_unfinished_line(path: Path) -> None:
    """A process died in the middle of a line: nobody was told of it, and it is written again."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)


def _sync_folder(folder: Path) -> None:
    """Makes a new name in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
