"""A whole town as real processes, for end-to-end tests: started, killed and restarted by the test that owns it.

The layout is that of `make run`, on free ports, with a smaller town. Waiting is always for something, never for time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from cli.demo.layout import BERLIN, DEFAULT_PORTS, SERVICES, SETTING_UP_S, Layout, time_lapse_start
from cli.demo.seed import demonstration_token, healthy, seed, until_answering
from cli.session import Session
from domain.errors import LichtbuchError, RetryableError
from domain.night import night_bounds
from tests.support.ports import free_port
from tests.support.warm_command import Done, run_warm

ROOT: Final = Path(__file__).resolve().parents[2]


def free_ports() -> dict[str, int]:
    """Ports that nobody listens on; the simulator's device ports are chosen by the system."""
    return {process: free_port() for process in DEFAULT_PORTS} | {"modbus": 0, "opcua": 0}


@dataclass
class Town:
    """One town; use as an asynchronous context manager."""

    layout: Layout
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    inventory: dict[str, Any] = field(default_factory=dict)
    _client: httpx.AsyncClient | None = None

    @classmethod
    def make(cls, directory: Path, *, speed: float, noon_in_s: float = SETTING_UP_S, **sizes: Any) -> Town:
        """A town whose clock starts now; `sizes` are fields of the layout.

        In time-lapse its noon comes in so many seconds. A town that is not set up by then waits for the next one.
        """
        anchor = datetime.now(UTC)
        start = sizes.pop("start", None)
        if start is None and speed != 1:
            start = time_lapse_start(anchor, speed) + timedelta(seconds=(SETTING_UP_S - noon_in_s) * speed)
        layout = Layout(directory, speed=speed, anchor=anchor, start=start, ports=free_ports(), **sizes)
        return cls(layout)

    async def __aenter__(self) -> Town:
        self.layout.directory.mkdir(parents=True, exist_ok=True)
        self._client = httpx.AsyncClient(base_url=self.layout.simulator, timeout=30)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._client is not None:
            await self._client.aclose()
        for process in reversed(list(self.processes)):
            self.stop(process)

    # --- processes ---------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start processes; their output goes to a file each."""
        for name in names:
            environment = os.environ | self.layout.environment() | self.layout.own_environment(name)
            environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}"
            with (self.layout.directory / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.layout.arguments(name), cwd=ROOT, env=environment, stdout=log, stderr=log
                )

    def stop(self, name: str, patience_s: float = 15.0) -> int:
        """End a process gracefully (SIGTERM); its exit code. One that does not end is killed."""
        process = self.processes.pop(name, None)
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -signal.SIGKILL

    def kill(self, name: str) -> None:
        """End a process at once (SIGKILL)."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        path = self.layout.directory / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def assert_running(self) -> None:
        """Every started process is still there; otherwise its last words."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}"

    async def well(self, name: str, patience_s: float = 120.0) -> None:
        """Wait until a service says it serves."""

        async def ask() -> bool:
            self.assert_running()
            return await healthy(self.layout.address(name))

        await until_answering(name, ask, patience_s)

    async def start_everything(self) -> None:
        """Start simulator, issuer and services, and put the town in."""
        self.start("issuer", "simulator", *SERVICES)
        try:
            self.inventory = await seed(self.layout, lambda line: None)
        except LichtbuchError as error:
            self.assert_running()
            said = "\n".join(f"{name}: {self.log(name)[-1500:]}" for name in self.processes)
            raise AssertionError(f"the town cannot be set up: {error}\n{said}") from error
        self.assert_running()

    # --- asking ------------------------------------------------------------------------------------------------

    async def session(self, user: str) -> Session:
        """A session as one of the demonstration users, at this town's addresses."""
        token = await demonstration_token(self.layout.issuer, user)
        return Session(municipality_id="bad-hersfeld", token=token, addresses=self.layout.addresses())

    async def simulator(self, path: str, **query: str) -> Any:
        """What the simulator answers."""
        assert self._client is not None
        answer = await self._client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    async def fault(self, **fault: Any) -> dict[str, Any]:
        """Begin a fault in the simulator."""
        assert self._client is not None
        answer = await self._client.post("/faults", json=fault)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def now(self) -> datetime:
        """The town's time."""
        clock = await self.simulator("/clock")
        return datetime.fromisoformat(clock["now"]).astimezone(UTC)

    async def next_night(self) -> tuple[datetime, datetime]:
        """Bounds of the next lighting night that has not begun: noon to noon, UTC."""
        now = await self.now()
        noon, end = night_bounds(now.astimezone(BERLIN).date(), BERLIN)
        return (noon, end) if now < noon else night_bounds(now.astimezone(BERLIN).date() + timedelta(days=1), BERLIN)

    async def until(self, instant: datetime) -> None:
        """Wait until the town's time has reached an instant."""
        while (now := await self.now()) < instant:
            self.assert_running()
            left = (instant - now) / timedelta(seconds=1) / self.layout.speed
            await asyncio.sleep(min(max(left, 0.01), 1.0))

    async def levels_at(self, instant: datetime) -> dict[str, float | None]:
        """The true light level of every lamp at a past instant, in per mille."""
        answer = await self.simulator("/truth/luminaires", at=instant.isoformat())
        return {row["id"]: row["level_permille"] for row in answer["luminaires"]}

    async def meters_at(self, instant: datetime) -> dict[str, float]:
        """The true counter of every meter at a past quarter hour, in Wh."""
        answer = await self.simulator("/truth/meters", at=instant.isoformat())
        return {row["id"]: row["energy_wh"] for row in answer["meters"]}

    async def eventually(
        self, what: str, condition: Callable[[], Awaitable[bool]], patience_s: float = 120.0, pause_s: float = 0.2
    ) -> None:
        """Wait until something is so; fails naming it."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience_s
        while True:
            self.assert_running()
            try:
                if await condition():
                    return
            except RetryableError:
                pass
            assert loop.time() < give_up, f"not within {patience_s:.0f} s: {what}"
            await asyncio.sleep(pause_s)


async def run_command(town: Town, user: str, *arguments: str) -> Done:
    """`lichtbuch` as a person runs it, logged in as one of the demonstration users."""
    token = await demonstration_token(town.layout.issuer, user)
    environment = os.environ | town.layout.environment()
    return await run_warm(*arguments, environment=environment | {"LICHTBUCH_TOKEN": token})


def with_databases(layout: Layout, urls: dict[str, str]) -> Layout:
    """The layout on other databases than its SQLite files."""
    return replace(layout, database_urls=urls)
