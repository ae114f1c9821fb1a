"""Runs `lichtbuch` as a process of its own without loading it each time: forked from a process that has it loaded.

What runs is the command itself, with its own arguments, environment, output, exit code and end; only the reading of
its modules from disk, which takes longer than most commands do, happens once for a test process. That the command also
starts from nothing is tests/cli/test_offline.py's to show.

Run as a module, this file is the process that is forked from.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
_LONGEST: Final = 128 * 1024
_REPORT: Final = struct.Struct("ii")
"""Which process it is, and how it ended: what a report on the command consists of."""


@dataclass(frozen=True)
class Done:
    """How a run of the command ended; the code of one that was killed is the signal's number below zero."""

    returncode: int
    stdout: str
    stderr: str


async def run_warm(*arguments: str, environment: Mapping[str, str], patience_s: float = 120.0) -> Done:
    """`lichtbuch` with these arguments and this environment, in the repository's folder and with no input.

    Raises TimeoutError if it does not end; it is killed then.
    """
    return await asyncio.to_thread(run_warm_now, arguments, environment, patience_s)


def run_warm_now(arguments: Sequence[str], environment: Mapping[str, str], patience_s: float = 120.0) -> Done:
    """As `run_warm`, for who has no event loop."""
    ends = [os.pipe() for _ in range(3)]
    request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
    assert len(request) <= _LONGEST, "more than one message holds"
    try:
        socket.send_fds(_loaded(), [request], [write for _, write in ends])
    finally:
        for _, write in ends:
            os.close(write)
    out, error, report = _read_all([read for read, _ in ends], time.monotonic() + patience_s)
    assert len(report) == 2 * _REPORT.size, f"the command was lost: {error.decode(errors='replace')}"
    _, code = _REPORT.unpack(report[_REPORT.size :])
    return Done(code, out.decode(), error.decode())


def _read_all(pipes: Sequence[int], until: float) -> list[bytes]:
    """Everything from some pipes, all at once, to their ends; the last one is the report's."""
    found = [bytearray() for _ in pipes]
    with selectors.DefaultSelector() as selector:
        for index, pipe in enumerate(pipes):
            selector.register(pipe, selectors.EVENT_READ, index)
        try:
            while selector.get_map():
                ready = selector.select(max(until - time.monotonic(), 0))
                if not ready:
                    if len(found[-1]) >= _REPORT.size:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(_REPORT.unpack(found[-1][: _REPORT.size])[0], signal.SIGKILL)
                    raise TimeoutError(f"the command does not end: {bytes(found[1]).decode(errors='replace')}")
                for key, _ in ready:
                    piece = os.read(key.fd, 65536)
                    found[key.data] += piece
                    if not piece:
                        selector.unregister(key.fd)
        finally:
            for pipe in pipes:
                os.close(pipe)
    return [bytes(one) for one in found]


@cache
def _loaded() -> socket.socket:
    """The line to this test process's own process with the command loaded. It ends when the line does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_command", str(theirs.fileno())],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
    )  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(line: socket.socket) -> None:
    """Forks a process for every request, until nobody can ask any more."""
    from cli.main import run

    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for the commands are waited for by nobody
    while True:
        request, pipes, _, _ = socket.recv_fds(line, _LONGEST, 3)
        if not request:
            return
        if os.fork() == 0:
            line.close()
            _run_and_report(run, json.loads(request), pipes)
        for pipe in pipes:
            os.close(pipe)


def _run_and_report(run: Any, request: dict[str, Any], pipes: Sequence[int]) -> None:
    """Waits for the command, which is a process of its own again, and reports on it. Only the command returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, error, report = pipes
    command = os.fork()
    if command == 0:
        os.close(report)
        for given, standard in ((out, 1), (error, 2)):
            os.dup2(given, standard)
            os.close(given)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["lichtbuch", *request["arguments"]]
        run()
        sys.exit(0)
    os.close(out)
    os.close(error)
    _wait_and_report(command, report)


def _wait_and_report(command: int, report: int) -> NoReturn:
    try:
        os.write(report, _REPORT.pack(command, 0))
        _, status = os.waitpid(command, 0)
        os.write(report, _REPORT.pack(command, os.waitstatus_to_exitcode(status)))
    except BrokenPipeError:  # nobody wants to know any more
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)
    finally:
        os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
