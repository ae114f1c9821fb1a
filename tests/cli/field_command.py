"""Runs the command as a person does, while servers of the test answer in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.main import run
from tests.support.patient_loop import PatientLoop

ROOT = Path(__file__).resolve().parents[2]


class _Patient(asyncio.DefaultEventLoopPolicy):
    """Both ends live in this process: a pause that the machine makes is no silence of a device."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return PatientLoop()


@dataclass(frozen=True)
class Done:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error told on standard error as JSON, beside notes."""
        return json.loads(self.err.splitlines()[-1])["error"]


async def field(*arguments: str | Path, answers: str = "") -> Done:
    """`lichtbuch field ...` in a thread: its own event loop, while the test's one serves."""
    out, err = io.StringIO(), io.StringIO()

    def command() -> int:
        try:
            run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        return 0

    argv, stdin, policy = sys.argv, sys.stdin, asyncio.get_event_loop_policy()
    sys.argv, sys.stdin = ["lichtbuch", "field", *map(str, arguments)], io.StringIO(answers)
    asyncio.set_event_loop_policy(_Patient())
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = await asyncio.to_thread(command)
    finally:
        sys.argv, sys.stdin = argv, stdin
        asyncio.set_event_loop_policy(policy)
    return Done(code, out.getvalue(), err.getvalue())


async def field_process(
    *arguments: str | Path, stdin: int | None = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """`lichtbuch field ...` as a process of its own, for signals and for a real standard input."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}", "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "field",
        *map(str, arguments),
        cwd=ROOT,
        env=environment,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
