"""A soak's metering process as its parent sees it: started, stepped, killed in the middle, started again.

What starts is a process that has been told nothing yet: while one works, the next one has loaded its code and waits for
its options. Starting an interpreter fifty times would take longer than what is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from services.metering.slot import from_ms
from tests.support.issuer import Issuer
from tests.support.running import ADMIN

_ROOT = Path(__file__).resolve().parents[4]
PATIENCE_S = 600.0
COMES_WITHIN_S = 30.0
"""How long a point is waited for that was not passed in the slot."""
_LAST_WORDS = 2_000


class Died(Exception):
    """The process ended while it was asked something. Says what it wrote last."""


class Process:
    """One metering process after the other, over the same folder and the same database."""

    def __init__(self, folder: Path, database_url: str, issuer: Issuer) -> None:
        self._folder, self._database_url, self._issuer = folder, database_url, issuer
        self.registry = ""
        """Where the registry answers."""
        self._process: asyncio.subprocess.Process | None = None
        self._next: asyncio.subprocess.Process | None = None
        self.port = 0
        self.starts = self.kills = 0
        self.died_at: Counter[str] = Counter()
        """How often it killed itself at a point that it passed."""
        self.refused = {"conflict": 0, "no_register": 0, "not_kept": 0, "lost": 0}
        """What the processes said they did not store, as far as they lived to say it."""
        self._said: dict[str, float] = {}

    async def start(self, now_ms: int, *, away: bool = False) -> dict[str, Any]:
        """A new one. Its clock stands at an instant."""
        self._issuer.token_life_s = 24 * 3600
        options = {
            "now": from_ms(now_ms).isoformat(),
            "folder": str(self._folder),
            "database_url": self._database_url,
            "issuer": self._issuer.url,
            "registry": self.registry,
            "token": self._issuer.token(ADMIN),
            "migrate": self.starts == 0,
            "away": away,
        }
        self.starts += 1
        ready = self._next if self._next is not None and self._next.returncode is None else await self._load()
        self._process, self._next = ready, None
        self._send(options)
        state = await self._answer()
        self.port = state["port"]
        self._next = await self._load()
        return state

    async def _load(self) -> asyncio.subprocess.Process:
        """A process with its code, and without a word about what it is to do."""
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "proto" / "gen")])
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.services.metering.soak.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip

    async def ask(self, **command: Any) -> dict[str, Any]:
        """One command and its answer. Raises Died if the process ends over it."""
        self._send(command)
        return await self._answer()

    async def killed_during(self, command: dict[str, Any], after_s: float) -> None:
        """A command in whose midst it is killed, or right after it: at the point that it says, or else by us."""
        self._send(command)
        point, process = command.get("die_at", ""), self._process
        with contextlib.suppress(TimeoutError, Died):
            await asyncio.wait_for(self._answer(), after_s)
        if point and process is not None:
            # What it does by itself, a drain above all, comes when its pauses are over.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), COMES_WITHIN_S)
            if process.returncode == -signal.SIGKILL:
                self.died_at[point] += 1
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL, if it has not done so itself."""
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self._process = None
        self.kills += 1

    async def stop(self) -> None:
        """Ends it in order."""
        if self._process is not None:
            self._send({"stop": True})
            await self._process.wait()
            self._process = None

    async def close(self) -> None:
        """Ends whatever still runs."""
        for process in (self._process, self._next):
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._process = self._next = None

    def _send(self, command: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise Died
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _answer(self) -> dict[str, Any]:
        if self._process is None or self._process.stdout is None:
            raise Died
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
        if not line:
            raise Died(self._last_words())
        state: dict[str, Any] = json.loads(line)
        for name in self.refused:
            before = 0 if "port" in state else self._said.get(name, 0)
            self.refused[name] += int(state[name] - before)
        self._said = {name: state[name] for name in self.refused}
        return state

    @property
    def _log(self) -> Path:
        return self._folder / "log.txt"

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
