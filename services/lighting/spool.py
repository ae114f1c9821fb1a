"""A bounded file of level changes on their way to the database, so that a database that is away costs nothing.

Fixed records with a checksum: a torn tail is seen and cut off. What was handed over is dropped from the front; handing
over twice does no harm, since a change has a key. One process writes it: the one that holds the field.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from domain.errors import Exhausted
from services.lighting.history import Change

_RECORD: Final = struct.Struct(">16sqhBxI")
_HEAD: Final = struct.Struct(">16sqhBx")
RECORD_BYTES: Final = _RECORD.size


class LevelSpool:
    """A queue of changes in a file."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Opens or creates it and cuts off what a crash left half written."""
        self._path = path
        self._max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - lives as long as the spool
        self._done = 0  # bytes at the front that were handed over
        self._size = self._repair()

    def __len__(self) -> int:
        """Changes waiting."""
        return (self._size - self._done) // RECORD_BYTES

    def append(self, changes: Sequence[Change]) -> None:
        """Adds changes at the end, all or none.

        Raises Exhausted when the file would grow beyond its bound, OSError where the disk does not take them.
        """
        data = b"".join(map(_encode, changes))
        if self._size + len(data) > self._max_bytes:
            self._compact()
        if self._size + len(data) > self._max_bytes:
            raise Exhausted(f"the spool of level changes is full ({self._max_bytes} bytes)")
        try:
            if self._file.write(data) != len(data):  # a disk that fills up takes a part first and then complains
                raise OSError(errno.ENOSPC, "the disk took a part only")
        except OSError:
            self._file.truncate(self._size)  # or everything after it would be read out of step
            raise
        self._size += len(data)

    def peek(self, most: int) -> list[Change]:
        """The oldest changes, at most so many; they stay until they are dropped."""
        with open(self._path, "rb") as reader:
            reader.seek(self._done)
            data = reader.read(min(most * RECORD_BYTES, self._size - self._done))
        return [_decode(data[at : at + RECORD_BYTES]) for at in range(0, len(data), RECORD_BYTES)]

    def drop(self, count: int) -> None:
        """Forgets the oldest changes: they are safe elsewhere."""
        self._done = min(self._size, self._done + count * RECORD_BYTES)
        if self._done == self._size:
            self._file.truncate(0)
            self._done = self._size = 0

    def close(self) -> None:
        """Closes the file; what waits stays in it."""
        self._compact()
        self._file.close()

    def _compact(self) -> None:
        """Rewrites the file without what was handed over."""
        if not self._done:
            return
        temporary = self._path.with_suffix(".new")
        with open(self._path, "rb") as reader, open(temporary, "wb") as writer:
            reader.seek(self._done)
            writer.write(reader.read(self._size - self._done))
        self._file.close()
        os.replace(temporary, self._path)
        self._file = open(self._path, "a+b", buffering=0)  # noqa: SIM115
        self._size -= self._done
        self._done = 0

    def _repair(self) -> int:
        data = self._path.read_bytes()
        good = 0
        while good + RECORD_BYTES <= len(data) and _is_whole(data[good : good + RECORD_BYTES]):
            good += RECORD_BYTES
        if good != len(data):
            self._file.truncate(good)
        return good


class LastLevels:
    """A file with the last change of every luminaire: an aid for a start without the database, not a record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, last: Mapping[str, Change], watched_until_ms: int) -> None:
        """Replaces what was kept."""
        until = Change("0" * 32, watched_until_ms, 0, False)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(b"".join(map(_encode, (until, *last.values()))))
        os.replace(temporary, self._path)

    def load(self) -> tuple[dict[str, Change], int | None]:
        """Changes by uid, and until when levels were watched; nothing where the file is missing or not whole."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return {}, None
        records = [data[at : at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES)]
        if not records or not all(len(record) == RECORD_BYTES and _is_whole(record) for record in records):
            return {}, None
        until, *changes = map(_decode, records)
        return {change.uid: change for change in changes}, until.at_ms


def _encode(change: Change) -> bytes:
    head = _HEAD.pack(bytes.fromhex(change.uid), change.at_ms, change.level_permille, change.powered)
    return head + struct.pack(">I", zlib.crc32(head))


def _decode(record: bytes) -> Change:
    uid, at_ms, level, powered, _ = _RECORD.unpack(record)
    return Change(uid.hex(), at_ms, level, bool(powered))


def _is_whole(record: bytes) -> bool:
    return zlib.crc32(record[: _HEAD.size]) == int.from_bytes(record[_HEAD.size :], "big")
