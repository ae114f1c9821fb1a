"""Lamps from the command line: blinking to match address and pole, and the level they get back whatever happens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.cli.field_command import field, field_process
from tests.fieldbus.servers import LampServer, PymodbusServer, RawServer, answer_frame, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAMP = "opcua-lamp"


async def test_a_lamp_blinks_and_gets_its_level_back(lamps: LampServer) -> None:
    done = await field("identify", lamps.url, "1", "-P", LAMP, "--yes", "--pause", "0.1", "--times", "2")
    assert done.code == 3, "this server does not move ActualLevel by itself, so nobody was seen to follow"
    assert await lamps.get(1, "Level") == 50.0
    assert "gear 1: it was at 50 %, taking 12.5 W" in done.out
    assert "its level is back at 50 %" in done.out
    assert "did not see it follow" in done.out


async def test_a_lamp_whose_level_cannot_be_read_is_left_alone(lamps: LampServer) -> None:
    done = await field("identify", lamps.url, "9", "-P", LAMP, "--yes", "--json")
    assert done.code == 5
    assert done.document[0]["restored"] == []
    assert done.error["code"] == "NOT_READABLE"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_lamp_gets_its_level_back_when_the_command_is_stopped(
    lamps: LampServer, number: signal.Signals
) -> None:
    process = await field_process("identify", lamps.url, "0", "-P", LAMP, "--yes", "--pause", "20")
    try:
        async with asyncio.timeout(90):
            while await lamps.get(0, "Level") == 50.0:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), 40)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130
    assert await lamps.get(0, "Level") == 50.0


class Gateway:
    """Intesis' registers of one lamp at 40 %, which `obeys` or stays silent to a command as the test wants."""

    def __init__(self) -> None:
        self.level = 40
        self.commands: list[int] = []
        self.silent_to = 0  # so many of the commands that come next

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[7] == 3:
            start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
            held = {6: self.level, 15: self.level}
            data = b"".join(held.get(start + at, 0).to_bytes(2, "big") for at in range(count))
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
            return
        self.commands.append(int.from_bytes(request[10:12], "big"))
        if self.silent_to and len(self.commands) > 1:
            self.silent_to -= 1
            return
        self.level = self.commands[-1]
        writer.write(answer_frame(request, request[7:]))


async def test_a_lamp_gets_its_level_back_from_a_gateway_that_was_silent_for_a_while() -> None:
    gateway = Gateway()
    gateway.silent_to = 3
    server = RawServer(gateway)
    await server.start()
    try:
        done = await field(
            "identify", server.url, "0", "-P", "intesis-dali", "--yes", "--pause", "0.1", "--timeout", "0.5"
        )
    finally:
        await server.stop()
    assert gateway.level == 40
    assert "its level is back at 40 %" in done.out
    assert "its level is not back yet" in done.err


async def test_a_lamp_gets_its_level_back_though_the_command_is_stopped_only_while_it_is_given() -> None:
    gateway = Gateway()
    gateway.silent_to = 2
    server = RawServer(gateway)
    await server.start()
    # Longer than the machine may stop this process, which is the gateway: what it answers must not seem lost.
    process = await field_process(
        "identify", server.url, "0", "-P", "intesis-dali", "--yes", "--pause", "0.1", "--timeout", "2"
    )
    try:
        # To full, then back in vain: the third command is the one that gives the level back for good.
        await eventually(lambda: len(gateway.commands) >= 3, 90)
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
        await server.stop()
    assert process.returncode == 130
    assert gateway.level == 40
    assert b"its level is back at 40 %" in out


async def test_poles_are_asked_for_and_kept(lamps: LampServer, tmp_path: Path) -> None:
    poles = tmp_path / "poles.csv"
    process = await field_process(
        "identify", lamps.url, "0-2", "-P", LAMP, "--yes", "--pause", "0.1", "--times", "1", "--poles", poles
    )
    out, _ = await asyncio.wait_for(process.communicate(b"P-17\nr\nP-18\nq\n"), 90)
    assert process.returncode == 3  # nobody was seen to follow
    assert poles.read_text(encoding="utf-8").splitlines() == ["target,index,pole", "gear,0,P-17", "gear,1,P-18"]
    assert out.count(b"its level is back") == 3
    assert [await lamps.get(lamp, "Level") for lamp in range(3)] == [50.0, 50.0, 50.0]


async def test_a_profile_without_lamps_cannot_blink(lamps: LampServer) -> None:
    done = await field("identify", lamps.url, "0", "-P", "eastron-sdm630", "--yes")
    assert done.code == 2
    assert "cannot command and read the level of a lamp" in done.err


class Echo:
    """Holds in register 2560 what register 256 was told last, as Arlight's gateway does, or one register for both. The
    coils are off or on."""

    def __init__(self, *, told: int = 256, held: int = 2560, coils: int = 0) -> None:
        self.told, self.held, self.coils = told, held, coils
        self.level = 229  # 50 % as arc power, or a number of percent
        self.commands: list[int] = []

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        start, value = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        match request[7]:
            case 1:
                writer.write(answer_frame(request, bytes((1, 1, self.coils))))
            case 3:
                words = (self.level if start + at == self.held else 0 for at in range(value))
                writer.write(
                    answer_frame(request, bytes((3, 2 * value)) + b"".join(word.to_bytes(2, "big") for word in words))
                )
            case _:
                assert start == self.told
                self.level = value
                self.commands.append(value)
                writer.write(answer_frame(request, request[7:12]))


@pytest.mark.parametrize(
    ("profile", "gateway", "commands"),
    [
        ("arlight-dali", Echo(), [0, 229, 229]),
        ("ecodim-dali-gw2", Echo(told=3000, held=3004), [0, 229, 229]),
    ],
)
async def test_a_lamp_blinks_whose_gateway_only_shows_what_it_was_told(
    profile: str, gateway: Echo, commands: list[int]
) -> None:
    server = RawServer(gateway)
    await server.start()
    try:
        done = await field("identify", server.url, "0", "-P", profile, "--yes", "--pause", "0.1", "--times", "1")
    finally:
        await server.stop()
    assert done.code == 0, done.err
    assert gateway.commands == commands
    assert "the device took it; whether the lamp followed it cannot say" in done.out
    assert "its level is back at" in done.out


async def test_a_lamp_that_is_switched_off_is_said_to_stay_dark() -> None:
    dimmer = Echo(told=0, held=0)
    dimmer.level = 30
    server = RawServer(dimmer)
    await server.start()
    try:
        done = await field(
            "identify", server.url, "0", "-P", "wirenboard-mdm3", "--yes", "--pause", "0.1", "--times", "1"
        )
    finally:
        await server.stop()
    assert done.code == 3, done.err
    assert dimmer.level == 30
    assert "it is switched off (lamp_on_command)" in done.out


async def test_gear_of_the_second_line_blinks_though_some_points_are_of_the_first_only() -> None:
    gateway = PymodbusServer({1: {"holding": {7000: [0] * 100}}})
    await gateway.start()
    gateway.set_registers(1, "holding", 7006, [40])
    try:
        done = await field(
            "identify", gateway.url, "64", "-P", "intesis-dali", "--yes", "--pause", "0.1", "--times", "1", "--json"
        )
    finally:
        await gateway.stop()
    assert done.code == 3, done.err  # these registers follow nobody
    assert done.document[0]["problem"] == ""
    assert done.document[0]["level_before_permille"] == {"64": 400.0}
