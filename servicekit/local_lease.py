"""The lease within one machine: file lock, epoch, and a small file of what was held. Not: PostgreSQL (lease.py)."""

import asyncio
import json
import logging
import os
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from servicekit.clock import Clock, SystemClock
from servicekit.metrics import LEASE_HELD

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a process leaves for the next one on this machine."""

    epoch: int = 0
    held: bool = False


class LocalLease:
    """A file lock with an epoch: excludes other processes on this machine, and is released by the kernel on a crash."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        clock: Clock | None = None,
        retry_s: float = 2.0,
        before_held: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """before_held: awaited when the lock was taken, before anything is done as the holder."""
        self._name = name
        self._before_held = before_held
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        self._folder = folder
        self._lock = FileLock(folder / f"{stem}.lock", timeout=0, thread_local=False)
        self._memory_file = folder / f"{stem}.lease"
        self._clock = clock or SystemClock()
        self._retry_s = retry_s
        self._epoch = 0
        self._holding = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """What it is the right to."""
        return self._name

    @property
    def epoch(self) -> int:
        """Counts the holders."""
        return self._epoch

    @property
    def is_only_process(self) -> bool:
        """Whether no other process of this instance is there."""
        return self._lock.is_locked

    def holds(self) -> bool:
        """True while this process is to act as the holder."""
        return self._holding.is_set()

    def on_held(self, listener: Callable[[], None]) -> None:
        """Adds what is called whenever the lease was taken."""
        self._listeners.append(listener)

    async def wait_held(self) -> None:
        """Waits until the lease is held."""
        await self._holding.wait()

    async def try_acquire(self) -> bool:
        """Takes the lease if it is free."""
        if self.holds():
            return True
        if not self.lock():
            return False
        if self._before_held is not None:
            await self._before_held()
        self._become(self.recall().epoch + 1)
        return True

    async def keep(self, beat: Callable[[], None]) -> None:
        """Takes the lease when it is free, and tries for ever."""
        while True:
            await self.try_acquire()
            beat()
            await self._clock.sleep_real(self._retry_s * random.uniform(0.8, 1.0))

    async def release(self) -> None:
        """Gives it up."""
        self._give_up()
        self.unlock(self._epoch)

    def lock(self) -> bool:
        """Takes the file lock alone. True if this process has it."""
        if self._lock.is_locked:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        return True

    def unlock(self, epoch: int) -> None:
        """Gives the file lock up, remembering that nothing is held."""
        if self._lock.is_locked:
            if epoch:
                self.remember(epoch, held=False)
            self._lock.release()

    def recall(self) -> _Memory:
        """What the last process on this machine left."""
        try:
            content = json.loads(self._memory_file.read_text(encoding="utf-8"))
            return _Memory(int(content["epoch"]), bool(content["held"]))
        except (OSError, ValueError, KeyError, TypeError):
            return _Memory()

    def remember(self, epoch: int, *, held: bool) -> None:
        """Leaves word for the next process on this machine. A disk that fails does not end the lease."""
        temporary = self._memory_file.with_suffix(".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"epoch": epoch, "held": held}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._memory_file)
        except OSError as error:
            _log.warning("lease %s: its file cannot be written: %s", self._name, error)

    def _become(self, epoch: int) -> None:
        self._epoch = epoch
        self.remember(epoch, held=True)
        self._holding.set()
        LEASE_HELD.labels(self._name).set(1)
        _log.info("lease %s is held, epoch %d", self._name, epoch)
        for listener in self._listeners:
            listener()

    def _give_up(self) -> None:
        self._holding.clear()
        LEASE_HELD.labels(self._name).set(0)
