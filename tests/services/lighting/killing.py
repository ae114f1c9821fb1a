"""Lighting as a process that a test kills: at the very moment at which the simulator has taken its n-th write."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.services.lighting.chaos import FADE_S, PASS_S, ChaosTown, SharedClock
from tests.services.lighting.running import Lighting
from tests.support.town import ROOT


class LightingProcess(Lighting):
    """A process, and calls to it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, town: ChaosTown, clock: SharedClock) -> None:
        super().__init__(SimpleNamespace(port=port), None, town.issuer, None, clock)  # type: ignore[arg-type]
        self.process = process

    @classmethod
    async def start(cls, town: ChaosTown, clock: SharedClock, database_url: str, folder: Path) -> LightingProcess:
        """Starts it and waits until it holds the field, as after the process before it, and has made its first pass."""
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}"}
        with (folder / "lighting.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.services.lighting.lighting_process", town.issuer.url, database_url,
                str(folder), str(folder / "clock"), str(clock.now().timestamp()), cwd=ROOT, env=environment,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("port "), (folder / "lighting.log").read_text()[-3000:]
        return cls(process, int(line.split()[1]), town, clock)

    async def on_by(self, seconds: float) -> bool:
        """Goes on; False where the process was killed meanwhile."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{seconds}\n".encode())
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return await asyncio.wait_for(self.process.stdout.readline(), 60) == b"done\n"

    async def one_pass(self) -> bool:
        """One regular pass of the reconcile loop, and the time to fade; False where it was killed meanwhile."""
        return await self.on_by(PASS_S) and await self.on_by(FADE_S)

    async def gone(self) -> None:
        """Returns when it has ended."""
        await asyncio.wait_for(self.process.wait(), 30)
        await self.close()

    async def stop(self) -> None:
        """Ends it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.gone()


class Killer:
    """Kills a process with the n-th write that the simulator takes, counted from now."""

    def __init__(self, town: ChaosTown) -> None:
        self._log = town.simulator.field.writes
        self._record = self._log.record
        self._log.record = self._count  # type: ignore[method-assign]
        self.taken = 0
        self._at, self._pid = 0, 0

    def aim(self, process: LightingProcess, at: int) -> None:
        """From now on; 0 for never."""
        self.taken, self._at, self._pid = 0, at, process.process.pid

    def _count(self, **write: Any) -> None:
        self._record(**write)
        if write["kind"] == "heartbeat":
            return
        self.taken += 1
        if self.taken == self._at:
            os.kill(self._pid, signal.SIGKILL)
