"""Devices on this laptop's lines: opened for one command, closed after it.

The drivers are loaded here and not before: other commands start without them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from domain.errors import InvalidInput
from fieldbus.device import Device, Limits
from fieldbus.profile import Profile, Protocol

if TYPE_CHECKING:
    from fieldbus.client import Fieldbus

T = TypeVar("T")

PATIENCE_S: Final = 2.0  # for one answer, unless told otherwise
_SHORTEST_CONNECT_S: Final = 3.0
_ANSWERS_TO_A_SESSION: Final = 10  # that an OPC UA server gives until it is read for the first time
_DEADLINE_S: Final = 300.0  # a full line at 9600 baud takes its time, and a person can press Ctrl-C


def now() -> datetime:
    """Real time: a device on a bench knows no other."""
    return datetime.now(UTC)


def open_fieldbus(timeout_s: float = PATIENCE_S, security: Path | None = None, *, session: bool = False) -> Fieldbus:
    """The field layer, with a person's patience for each answer; `session` for OPC UA, which takes several of them to
    connect. Raises InvalidInput for a wrong security file."""
    from fieldbus.client import Fieldbus

    limits = Limits(
        connect_timeout_s=max(_SHORTEST_CONNECT_S, timeout_s * (_ANSWERS_TO_A_SESSION if session else 1)),
        request_timeout_s=timeout_s,
        read_deadline_s=_DEADLINE_S,
        write_deadline_s=_DEADLINE_S,
        confirm_timeout_s=max(1.0, timeout_s),
    )
    if security is None:
        return Fieldbus(now=now, limits=limits)
    from fieldbus.security import load_security

    return Fieldbus(now=now, limits=limits, security=load_security(security))


def on_device(
    url: str,
    profile: Profile,
    work: Callable[[Device], Awaitable[T]],
    *,
    timeout_s: float = PATIENCE_S,
    security: Path | None = None,
) -> T:
    """Run `work` with a device and close it."""

    async def run() -> T:
        fieldbus = open_fieldbus(timeout_s, security, session=profile.protocol is Protocol.OPCUA)
        try:
            return await work(fieldbus.open(url, profile))
        finally:
            await fieldbus.close()

    return run_until_stopped(run())


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish what must not be left half-done, though the command be stopped meanwhile; then it stops."""
    task = asyncio.ensure_future(work)
    stopped = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            stopped = True
    task.result()
    if stopped:
        raise asyncio.CancelledError


def run_until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C, a closed terminal or a kill: `finally` has its say in every case.

    Raises KeyboardInterrupt when stopped. A second Ctrl-C changes nothing: a lamp is being given its level back.
    """

    stopped = False

    async def guarded() -> T:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError):  # only the main thread takes signals
                loop.add_signal_handler(number, stop)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    except InvalidInput as error:
        if any(violation.field == "security" for violation in error.violations):
            error.add_note("Give the file that has it with --security FILE; docs/field-tool.md shows one.")
        raise
