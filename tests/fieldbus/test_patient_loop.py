"""The loop that the field layer's tests run on: a pause of the machine costs nobody his turn, and silence is seen."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.patient_loop import STEP_S, PatientLoop

PATIENCE_S = 10 * STEP_S


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each line, and at each of them the machine does something else for longer than anybody waits."""
    while line := await reader.readline():
        time.sleep(2 * PATIENCE_S)  # noqa: ASYNC251 - as if the whole process had been stopped
        writer.write(line)
    writer.close()


async def test_who_was_kept_from_answering_by_the_machine_is_in_time() -> None:
    assert isinstance(asyncio.get_running_loop(), PatientLoop)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            writer.write(b"well?\n")
            assert await reader.readline() == b"well?\n"
    writer.close()
    server.close()


async def test_who_says_nothing_is_given_up_after_the_time_that_was_given() -> None:
    loop = asyncio.get_running_loop()
    began, began_s = time.monotonic(), loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await loop.create_future()
    assert loop.time() - began_s >= PATIENCE_S
    assert time.monotonic() - began >= PATIENCE_S
