"""The local durable spool: readings wait here, on this machine's disk, while the database is away. Plain files, no
loop.

A record is a file: a line with its checksum, a line of JSON, the columns. It is written beside its place, flushed to
the disk, renamed and the folder flushed: whatever has a name here is whole, and what `append` has returned for survives
a SIGKILL and a power cut. Records are drained oldest first and removed after the database has committed them; one that
was committed and not yet removed is stored again, which changes nothing. Each worker has a folder of its own under a
lock that dies with it; what a dead worker left is moved over by whoever lives, at a start or when it looks for it.

A full spool thins itself, oldest first, to the counters of full hours: the counter conserves the energy. Only when that
is not enough it drops the oldest. Both loudly.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Self

import numpy as np

from domain.errors import Corrupted, Exhausted, Unavailable
from domain.names import new_uid
from services.metering.metrics import SPOOL_BYTES, SPOOL_DAMAGED, SPOOL_DROPPED, SPOOL_RECORDS, SPOOL_THINNED
from services.metering.reading import Readings
from services.metering.slot import HOUR_MS

_log = logging.getLogger(__name__)

_MAGIC: Final = b"lichtbuch-spool-1"
_RECORD: Final = ".rec"
_THINNED: Final = "-h.rec"
_BROKEN: Final = ".bad"
_PARTIAL: Final = ".tmp"
_LOCK: Final = "lock"
_PREPARED: Final = "."
_PREPARING_S: Final = 3_600.0
DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """Readings with the uids of their registers: keys are the database's own and may not survive its restore."""

    readings: Readings
    lives: Mapping[int, str]

    def encode(self) -> bytes:
        """The bytes of its file."""
        names = [f.name for f in fields(Readings)]
        head = {"count": len(self.readings), "columns": names, "lives": {str(k): v for k, v in self.lives.items()}}
        columns = b"".join(column.astype("<i8").tobytes() for column in self.readings.columns())
        body = json.dumps(head, sort_keys=True).encode("ascii") + b"\n" + columns
        return _MAGIC + b" " + hashlib.sha256(body).hexdigest().encode("ascii") + b"\n" + body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads it back. Raises Corrupted unless the bytes are those that were written."""
        first, _, body = data.partition(b"\n")
        magic, _, digest = first.partition(b" ")
        if magic != _MAGIC or hashlib.sha256(body).hexdigest().encode("ascii") != digest:
            raise Corrupted("the checksum of a spooled record does not hold")
        line, _, columns = body.partition(b"\n")
        head = json.loads(line)
        values = np.frombuffer(columns, "<i8").astype(np.int64).reshape(len(head["columns"]), head["count"])
        named = dict(zip(head["columns"], values, strict=True))
        return cls(Readings(**named), {int(key): uid for key, uid in head["lives"].items()})


@dataclass(slots=True)
class _File:
    name: str
    size: int

    @property
    def is_thinned(self) -> bool:
        return self.name.endswith(_THINNED)


class Spool:
    """One worker's spool. Every call may come from any thread: they take turns."""

    def __init__(self, root: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._folder = root / new_uid()
        self._files: deque[_File] = deque()
        self._bytes = 0
        self._lock: int | None = None
        self._holders = 0
        self._held_back: list[str] = []
        self._turn = threading.RLock()

    @property
    def depth(self) -> int:
        """How many records wait."""
        return len(self._files)

    @property
    def size_bytes(self) -> int:
        """How much disk they take."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """True if it is close to giving readings up, or has begun to."""
        return self._bytes > self._max_bytes * 9 // 10

    def open(self) -> None:
        """Takes a folder of its own and moves over what dead workers left. Raises Unavailable where the disk fails."""
        # Prepared under a name that nobody who looks for the dead touches: it has its lock when it is first seen.
        prepared = self._root / (_PREPARED + self._folder.name)
        lock: int | None = None
        try:
            prepared.mkdir(parents=True, exist_ok=True)
            lock = _lock(prepared)
            if lock is None:
                raise OSError(errno.ENOLCK, "its lock is not to be had")
            prepared.rename(self._folder)
            _sync_folder(self._root)  # or a power cut takes the folder with all that was flushed into it
        except OSError as error:
            if lock is not None:
                os.close(lock)
            raise Unavailable(f"the spool {self._root} cannot be opened: {error}", 5.0) from error
        self._lock = lock
        self.take_over()

    def take_over(self) -> int:
        """Moves over what dead workers left and puts it in order with what waits here. Returns how many records came.
        Raises Unavailable where the disk fails: what has been moved until then counts, the rest stays where it is.

        Cheap where there is nothing: a look into the root, and at a lock for each of the other workers.
        """
        with self._turn:
            if self._lock is None:
                return 0
            before = len(self._files)
            try:
                for folder in sorted(self._root.iterdir()):
                    if folder.is_dir() and folder != self._folder and not _is_being_prepared(folder):
                        self._take_over(folder)
            except OSError as error:
                raise Unavailable(f"the spools in {self._root} cannot be taken over: {error}", 5.0) from error
            finally:
                self._tell()
            return len(self._files) - before

    def close(self) -> None:
        """Gives the folder free for whoever comes next; an empty one is removed."""
        with self._turn:
            if self._lock is None:
                return
            self._holders = 0
            self._let_go()
            if not self._files:
                _remove_folder(self._folder)
            os.close(self._lock)
            self._lock = None

    def append(self, record: Record) -> None:
        """Keeps a record; when this returns it is on the disk. Raises Exhausted for one that is larger than the whole
        spool, Unavailable where the disk fails, a full one too: then it is not kept, and nothing is left of it."""
        data = record.encode()
        if len(data) > self._max_bytes:
            raise Exhausted(f"a record of {len(data)} bytes is larger than the whole spool")
        with self._turn:
            try:
                self._make_room(len(data))
                name = new_uid() + _RECORD
                _write(self._folder / name, data)
                self._files.append(_File(name, len(data)))
                self._bytes += len(data)
            except OSError as error:
                raise Unavailable(f"the spool {self._folder} cannot be written: {error}", 5.0) from error
            finally:
                self._tell()

    def oldest(self, most: int = 1) -> list[tuple[str, Record]]:
        """Names and contents of the records that have waited longest, as many as hold `most` readings together, at
        least one. A damaged one is put aside, loudly."""
        found: list[tuple[str, Record]] = []
        count = 0
        with self._turn:
            for file in list(self._files):
                try:
                    record = Record.decode((self._folder / file.name).read_bytes())
                except (Corrupted, ValueError, KeyError, TypeError) as error:
                    self.put_aside(file.name, str(error))
                    continue
                except OSError as error:
                    raise Unavailable(f"the spool {self._folder} cannot be read: {error}", 5.0) from error
                count += len(record.readings)
                if found and count > most:
                    break
                found.append((file.name, record))
                if count >= most:
                    break
        return found

    def remove(self, name: str) -> None:
        """Forgets a record that the database has committed."""
        with self._turn:
            self._forget(name)
            if self._holders:
                self._held_back.append(name)
            else:
                self._unlink(name)

    def put_aside(self, name: str, reason: str) -> None:
        """Takes a record out of the queue that cannot be stored, and keeps its file for a person to look at."""
        _log.error("the spooled record %s is put aside as %s%s: %s", name, name, _BROKEN, reason)
        SPOOL_DAMAGED.inc()
        with self._turn:
            path = self._folder / name
            try:
                path.rename(path.with_name(name + _BROKEN))
            except OSError as error:
                # A disk that lets nothing be renamed must not hold up what follows; after a start it is met again.
                _log.warning("the spooled record %s keeps its name: %s", name, error)
            self._forget(name)

    def hold(self) -> Iterator[Record]:
        """All that wait now, oldest first. What is drained from now on keeps its file until `release`: who asks the
        database in between finds every record there or here. A kill before that is no harm: it is stored again."""
        with self._turn:
            self._holders += 1
            return self.records()

    def release(self) -> None:
        """Ends a `hold`."""
        with self._turn:
            self._holders -= 1
            self._let_go()

    def records(self) -> Iterator[Record]:
        """All that wait now, oldest first."""
        return self._contents(list(self._files))

    def _contents(self, files: Sequence[_File]) -> Iterator[Record]:
        for file in files:
            try:
                with self._turn:  # it may be about to be thinned
                    data = (self._folder / file.name).read_bytes()
                yield Record.decode(data)
            except (OSError, Corrupted, ValueError, KeyError, TypeError):
                continue  # `oldest` says so when its turn comes

    def _let_go(self) -> None:
        while self._held_back and not self._holders:
            self._unlink(self._held_back.pop())

    def _unlink(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            # A disk that lets nothing be removed must not hold up what follows.
            _log.warning("the spooled record %s stays and is stored again after a start: %s", name, error)

    def _forget(self, name: str) -> None:
        for file in self._files:
            if file.name == name:
                self._files.remove(file)
                self._bytes -= file.size
                break
        self._tell()

    def _take_over(self, folder: Path) -> None:
        try:
            lock = _lock(folder)
        except FileNotFoundError:
            return  # somebody else was faster
        if lock is None:
            return  # its worker lives
        try:
            # They wait here before their old folder goes: at no instant do they seem settled.
            self._move_over(folder)
            _sync_folder(self._folder)
            _remove_folder(folder)
        finally:
            os.close(lock)

    def _move_over(self, folder: Path) -> None:
        moved: list[_File] = []
        try:
            for path in sorted(folder.iterdir()):
                if path.name.endswith(_THINNED) and path.with_name(_whole(path.name)).exists():
                    path.unlink()  # its worker ended while it thinned: the whole record is still there
                elif path.name.endswith(_RECORD):
                    file = _File(path.name, path.stat().st_size)
                    path.rename(self._folder / path.name)
                    moved.append(file)
                elif path.name.endswith(_BROKEN):
                    path.rename(self._folder / path.name)
                elif path.name.endswith(_PARTIAL):
                    path.unlink()  # never acknowledged
        finally:  # what was moved before the disk failed is here
            if moved:
                # Names begin with the instant of their writing.
                self._files = deque(sorted((*self._files, *moved), key=lambda file: file.name))
                self._bytes += sum(file.size for file in moved)
                _log.warning("%d spooled records of a worker that ended without draining are taken over", len(moved))

    def _make_room(self, needed: int) -> None:
        if self._bytes + needed <= self._max_bytes:
            return
        thinned = dropped = 0
        try:
            for file in [file for file in self._files if not file.is_thinned]:
                if self._bytes + needed <= self._max_bytes:
                    break
                thinned += self._thin(file)
            while self._files and self._bytes + needed > self._max_bytes:
                name = self._files[0].name
                count = _count_of(self._folder / name)
                (self._folder / name).unlink(missing_ok=True)
                self._forget(name)
                dropped += count
        finally:  # what was given up before the disk failed is gone
            if thinned:
                SPOOL_THINNED.inc(thinned)
                _log.error("the spool is full: %d readings between full hours are given up", thinned)
            if dropped:
                SPOOL_DROPPED.inc(dropped)
                _log.error("the spool is full of full hours: its %d oldest readings are lost", dropped)

    def _thin(self, file: _File) -> int:
        """Leaves the counters of full hours in a record. Returns how many counters were given up."""
        path = self._folder / file.name
        try:
            record = Record.decode(path.read_bytes())
        except (Corrupted, ValueError, KeyError, TypeError) as error:
            self.put_aside(file.name, str(error))
            return 0
        # Gaps need no place: what is missing between two stored slots is flagged when they are stored.
        kept = record.readings.take((record.readings.slot_ms % HOUR_MS == 0) & ~record.readings.is_gap)
        given_up = int((~record.readings.is_gap).sum()) - len(kept)
        if not len(kept):
            path.unlink(missing_ok=True)
            self._forget(file.name)
            return given_up
        data = Record(kept, record.lives).encode()
        thinned = self._folder / (file.name.removesuffix(_RECORD) + _THINNED)
        _write(thinned, data)
        try:
            path.unlink(missing_ok=True)
        except OSError:
            _discard(thinned)
            raise
        self._bytes += len(data) - file.size
        file.name, file.size = thinned.name, len(data)
        return given_up

    def _tell(self) -> None:
        SPOOL_RECORDS.set(len(self._files))
        SPOOL_BYTES.set(self._bytes)


def _write(path: Path, data: bytes) -> None:
    """Writes a new file, whole and flushed, or leaves none behind and raises OSError."""
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError:
        _discard(partial)
        _discard(path)
        raise


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):  # the failure that led here is the one to tell of
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(folder: Path) -> int | None:
    """Handle that holds the folder's lock until it is closed or the process dies; None if somebody else holds it, or
    has just removed it. Raises FileNotFoundError where there is no folder, OSError where the disk fails or knows no
    locks: nobody could tell the living from the dead there."""
    path = folder / _LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _is_being_prepared(folder: Path) -> bool:
    """True of a folder whose worker may be about to name it; one that died over it, an hour ago, is like the others."""
    try:
        return folder.name.startswith(_PREPARED) and time.time() - folder.stat().st_mtime < _PREPARING_S
    except FileNotFoundError:
        return True  # it has its name now


def _remove_folder(folder: Path) -> None:
    if any(path.name != _LOCK for path in folder.iterdir()):
        return
    (folder / _LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody who looks for the dead has put a lock there at this moment
        folder.rmdir()


def _whole(name: str) -> str:
    return name.removesuffix(_THINNED) + _RECORD


def _count_of(path: Path) -> int:
    try:
        return int((~Record.decode(path.read_bytes()).readings.is_gap).sum())
    except (OSError, Corrupted, ValueError, KeyError, TypeError):
        return 0
