"""A soak's metering process as its parent sees it: started, stepped, killed in the middle, started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from services.metering.slot import from_ms
from tests.support.issuer import Issuer
from tests.support.running import ADMIN

_ROOT = Path(__file__).resolve().parents[4]
PATIENCE_S = 600.0


class Died(Exception):
    """The process ended while it was asked something."""


class Process:
    """One metering process after the other, over the same folder and the same database."""

    def __init__(self, folder: Path, database_url: str, issuer: Issuer) -> None:
        self._folder, self._database_url, self._issuer = folder, database_url, issuer
        self.registry = ""
        """Where the registry answers."""
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0
        self.starts = self.kills = 0
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
        log = (self._folder / "log.txt").open("ab")
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "proto" / "gen")])
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.services.metering.soak.worker", json.dumps(options),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        log.close()
        state = await self._answer()
        self.port = state["port"]
        return state

    async def ask(self, **command: Any) -> dict[str, Any]:
        """One command and its answer. Raises Died if the process ends over it."""
        self._send(command)
        return await self._answer()

    async def killed_during(self, command: dict[str, Any], after_s: float) -> None:
        """A command in whose midst it is killed, or right after it."""
        self._send(command)
        with contextlib.suppress(TimeoutError, Died):
            await asyncio.wait_for(self._answer(), after_s)
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
            raise Died
        state: dict[str, Any] = json.loads(line)
        for name in self.refused:
            before = 0 if "port" in state else self._said.get(name, 0)
            self.refused[name] += int(state[name] - before)
        self._said = {name: state[name] for name in self.refused}
        return state
