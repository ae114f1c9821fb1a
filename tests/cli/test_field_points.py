"""Points of a profile from the command line: read, written, watched; and who answers on a line."""

from __future__ import annotations

import asyncio
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from fieldbus.ownership import rule_to_watch
from fieldbus.profile_loader import load_profile, profile_names
from tests.cli.conftest import floats
from tests.cli.field_command import field, field_process
from tests.fieldbus.servers import PymodbusServer, RawServer, answer_frame, eventually

# A controller that watches a heartbeat, as small as one can be.
CONTROLLER = """
[profile]
name = "controller"
kind = "cabinet"
vendor = "ACME"
product = "Cabinet"
protocol = "modbus"
source = "test"
[modbus]
table = "holding"
[index]
channel = [0, 1]
[points.contactor_command]
access = "read_write"
table = "coil"
address = "channel"
[points.heartbeat]
access = "read_write"
table = "holding"
address = 40
type = "uint16"
[watchdog]
point = "heartbeat"
interval_s = 0.5
"""
THREE_PHASE = "eastron-sdm630"


@pytest.fixture
def controller(tmp_path: Path) -> Path:
    """The profile as a file."""
    file = tmp_path / "controller.toml"
    file.write_text(CONTROLLER, encoding="utf-8")
    return file


@pytest.fixture
async def another_master(line: PymodbusServer) -> AsyncIterator[None]:
    """Somebody else keeps the heartbeat going."""

    async def beat() -> None:
        count = 0
        while True:
            count += 1
            line.set_registers(1, "holding", 40, [count])
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_chosen_points_of_a_meter_are_read_with_unit_quality_and_time(line: PymodbusServer) -> None:
    done = await field(
        "read", line.url, "-P", THREE_PHASE, "--unit", "2", "--point", "voltage_l1", "--point", "frequency", "--json"
    )
    assert done.code == 0, done.err
    rows = {row["point"]: row for row in done.document}
    assert rows["voltage_l1"]["value"] == pytest.approx(230.1, abs=1e-4)
    assert (rows["frequency"]["unit"], rows["frequency"]["quality"]) == ("Hz", "good")
    assert rows["frequency"]["time_of"] == "ours"


async def test_a_person_reads_a_table_in_the_units_of_a_display(line: PymodbusServer) -> None:
    line.set_registers(2, "input", 0, floats(229.5))
    done = await field("read", line.url, "-P", THREE_PHASE, "--unit", "2", "--point", "voltage_l1")
    heading, columns, row = done.out.splitlines()
    assert heading.startswith("Eastron SDM630")
    assert columns.split() == ["point", "value", "unit", "quality", "time", "by"]
    assert row.split()[:4] == ["voltage_l1", "229.5", "V", "good"]


async def test_a_meter_of_which_a_part_is_missing_ends_with_3(line: PymodbusServer) -> None:
    done = await field("read", line.url, "-P", THREE_PHASE, "--unit", "2")
    assert done.code == 3
    assert "exception 02" in done.err


async def test_values_that_cannot_be_are_named_and_not_blamed_on_a_block_that_was_split() -> None:
    """This meter takes ten registers at a time, and has 230 everywhere, which is no frequency and no power factor."""

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        count = int.from_bytes(request[10:12], "big")
        answer = bytes((0x84, 3)) if count > 10 else bytes((4, 2 * count)) + struct.pack(">f", 230.0) * (count // 2)
        writer.write(answer_frame(request, answer))

    server = RawServer(behave)
    await server.start()
    try:
        done = await field("read", server.url, "-P", "eastron-sdm120")
    finally:
        await server.stop()
    assert done.code == 3
    assert "power_factor_total, frequency: the device has no value there" in done.err
    assert "illegal" not in done.err


async def test_a_profile_for_another_device_ends_with_5(line: PymodbusServer) -> None:
    done = await field("read", line.url, "-P", "janitza-umg96", "--json")
    assert done.code == 5
    assert done.error["code"] == "ILLEGAL_ADDRESS"
    assert "profile is for this model" in done.error["hint"]


async def test_a_silent_unit_behind_a_gateway_ends_with_4_and_points_at_the_line() -> None:
    async def absent(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_frame(request, bytes((request[7] | 0x80, 0x0B))))

    gateway = RawServer(absent)
    await gateway.start()
    try:
        done = await field("read", gateway.url, "-P", THREE_PHASE, "--unit", "7", "--json")
    finally:
        await gateway.stop()
    assert done.code == 4
    assert done.error["code"] == "UNIT_ABSENT"
    assert "baud rate and parity" in done.error["hint"]


async def test_a_device_that_swallows_requests_ends_with_4_and_names_the_other_framing() -> None:
    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    device = RawServer(silent)
    await device.start()
    try:
        done = await field("read", device.url, "-P", THREE_PHASE, "--timeout", "0.1", "--json")
    finally:
        await device.stop()
    assert done.code == 4
    assert done.error["code"] == "NO_ANSWER"
    assert "modbus+rtutcp://" in done.error["hint"]


async def test_a_host_that_nobody_knows_is_named() -> None:
    done = await field("read", "modbus+tcp://cabinet.invalid", "-P", THREE_PHASE, "--json")
    assert done.code == 4
    assert done.error["code"] == "UNKNOWN_HOST"


async def test_a_serial_device_that_is_not_plugged_in_is_named(tmp_path: Path) -> None:
    done = await field("read", f"modbus+rtu://{tmp_path}/ttyUSB0?baud=9600", "-P", THREE_PHASE, "--json")
    assert done.code == 4
    assert done.error["code"] == "NO_SUCH_SERIAL_DEVICE"
    assert "/dev/serial/by-id" in done.error["hint"]


async def test_an_unknown_profile_names_the_shipped_ones() -> None:
    done = await field("read", "modbus+tcp://127.0.0.1:1", "-P", "eastron-sdm999", "--json")
    assert done.code == 2
    assert "eastron-sdm630" in done.error["hint"]


async def test_all_errors_of_a_device_profile_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(CONTROLLER.replace("uint16", "uint17").replace('"coil"', '"coal"'), encoding="utf-8")
    done = await field("read", "modbus+tcp://127.0.0.1:1", "-P", file, "--json")
    assert done.code == 2
    assert len(done.error["violations"]) >= 2
    assert all(violation["field"].startswith("wrong.toml:") for violation in done.error["violations"])


async def test_a_point_is_written_in_words_and_confirmed(line: PymodbusServer, controller: Path) -> None:
    done = await field("write", line.url, "contactor_command[1]=on", "-P", controller, "--yes", "--json")
    assert done.code == 0, done.err
    assert done.document[0]["outcome"] == "confirmed"
    assert line.bit(1, "coil", 1)


@pytest.mark.usefixtures("another_master")
async def test_a_device_that_somebody_runs_is_not_written_to(line: PymodbusServer, controller: Path) -> None:
    done = await field("write", line.url, "contactor_command[1]=on", "-P", controller, "--yes", "--json")
    assert done.code == 5
    assert done.error["code"] == "OWNED"
    assert "another master" in done.error["message"]
    assert not line.bit(1, "coil", 1)


@pytest.mark.usefixtures("another_master")
async def test_raw_registers_of_a_device_that_somebody_runs_are_not_written_to_where_a_profile_shows_it(
    line: PymodbusServer, controller: Path
) -> None:
    raw = ("write", line.url, "--register", "coil:1=on", "--yes", "--json")
    done = await field(*raw, "-P", controller)
    assert (done.code, done.error["code"]) == (5, "OWNED")
    assert not line.bit(1, "coil", 1)
    unseen = await field(*raw)
    assert unseen.code == 0
    assert "it cannot be seen whether an installation runs this device" in unseen.err
    assert line.bit(1, "coil", 1)


async def test_a_gateway_beside_a_controller_that_somebody_runs_is_not_written_to(
    line: PymodbusServer, controller: Path, another_master: None
) -> None:
    arguments = ("write", f"{line.url}?unit=9", "--register", "holding:41=7", "--yes", "--json")
    done = await field(*arguments, "--controller", f"{controller}@1")
    assert (done.code, done.error["code"]) == (5, "OWNED")


@pytest.mark.parametrize(
    ("controller_at", "code", "words"),
    [("@77", 4, "who runs it cannot be told"), ("", 2, "is no PROFILE@UNIT"), ("@one", 2, "is no PROFILE@UNIT")],
)
async def test_a_controller_that_says_nothing_of_its_owner_is_not_passed_over(
    line: PymodbusServer, controller: Path, controller_at: str, code: int, words: str
) -> None:
    arguments = ("write", f"{line.url}?unit=1", "--register", "holding:41=7", "--yes", "--json")
    done = await field(*arguments, "--controller", f"{controller}{controller_at}")
    assert done.code == code
    assert words in done.err


async def test_raw_registers_of_a_device_that_nobody_runs_are_written_to(
    line: PymodbusServer, controller: Path
) -> None:
    done = await field("write", line.url, "--register", "coil:1=on", "-P", controller, "--yes", "--json")
    assert done.code == 0, done.err
    assert done.document[0]["outcome"] == "confirmed"
    mixed = await field("write", line.url, "heartbeat=3", "--register", "coil:1=on", "-P", controller, "--yes")
    assert mixed.code == 2


@pytest.mark.usefixtures("another_master")
async def test_a_heartbeat_that_moves_shows_an_owner_also_where_the_profile_says_nothing_of_a_watchdog(
    line: PymodbusServer, tmp_path: Path
) -> None:
    file = tmp_path / "controller.toml"
    file.write_text(CONTROLLER.partition("[watchdog]")[0], encoding="utf-8")
    done = await field("write", line.url, "contactor_command[1]=on", "-P", file, "--yes", "--json")
    assert (done.code, done.error["code"]) == (5, "OWNED")
    assert not line.bit(1, "coil", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "--register", "holding:40"),
        ("scan", "--units", "1,30-90", "--timeout", "1"),
        ("write", "--register", "holding:40=3"),
    ],
    ids=lambda arguments: arguments[0],
)
async def test_ctrl_c_ends_with_130_after_what_was_found(line: PymodbusServer, arguments: tuple[str, ...]) -> None:
    command, *options = arguments
    process = await field_process(command, line.url, *options)
    said = b""
    try:
        async with asyncio.timeout(90):
            # The first value, the first unit, the question.
            stream = process.stdout if command == "watch" else process.stderr
            assert stream is not None
            while {"watch": b"holding:40", "scan": b"asking", "write": b"Write?"}[command] not in said:
                said += await stream.read(1000)
            if command == "scan":
                await eventually(lambda: len(line.requests) > 1, 80)  # it loads the drivers only now
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130, err
    assert line.registers(1, "holding", 40) == [17]


@pytest.mark.parametrize("name", [name for name in profile_names() if load_profile(name).readable("heartbeat")])
def test_the_owner_of_every_shipped_controller_can_be_seen(name: str) -> None:
    profile = load_profile(name)
    assert rule_to_watch(profile) == profile.watchdog is not None


async def test_a_point_that_the_device_takes_but_does_not_hold_ends_with_3(controller: Path) -> None:
    async def stubborn(request: bytes, writer: asyncio.StreamWriter) -> None:
        # Acknowledges what is written, and goes on to hold 0.
        reads = request[7] < 5
        writer.write(answer_frame(request, bytes((request[7], 2, 0, 0)) if reads else request[7:]))

    device = RawServer(stubborn)
    await device.start()
    try:
        done = await field("write", device.url, "heartbeat=3", "-P", controller, "--yes", "--timeout", "1", "--json")
        shown = await field("write", device.url, "--register", "holding:9=3", "--yes", "--timeout", "1")
    finally:
        await device.stop()
    assert done.code == shown.code == 3
    assert (done.document[0]["outcome"], done.document[0]["read_back"]) == ("accepted", 0)
    assert "not seen in effect" in done.err
    assert "reads back 0, commanded 3" in " ".join(shown.out.split())


async def test_keep_is_refused_where_the_device_has_none() -> None:
    done = await field("write", "modbus+tcp://127.0.0.1:1", "level_power_on[2]=keep", "-P", "intesis-dali", "--yes")
    assert done.code == 2
    assert "this device has no 'keep'" in done.err
    assert "bypasses" not in done.err


async def test_a_wrong_command_line_is_headed_as_such(line: PymodbusServer) -> None:
    done = await field("write", line.url, "heartbeat=soon", "-P", "cabinet-plc")
    assert done.err.splitlines()[0] == "lichtbuch: wrong input"


async def test_a_number_after_a_slash_is_told_to_go_into_brackets() -> None:
    url = "modbus+tcp://127.0.0.1:1"
    read = await field("read", url, "-P", "intesis-dali", "--point", "level_actual/2")
    written = await field("write", url, "level_command/2=50%", "-P", "intesis-dali")
    assert (read.code, written.code) == (2, 2)
    assert "level_actual[2]" in read.err
    assert "level_command[2]" in written.err


async def test_a_point_is_read_with_its_number_in_brackets(line: PymodbusServer, controller: Path) -> None:
    done = await field(
        "read", line.url, "-P", controller, "--point", "contactor_command[1]", "--point", "heartbeat", "--json"
    )
    assert done.code == 0, done.err
    assert [(row["point"], row["index"]) for row in done.document] == [("contactor_command", 1), ("heartbeat", None)]
    outside = await field("read", line.url, "-P", controller, "--point", "contactor_command[7]")
    assert outside.code == 2


async def test_a_device_that_refuses_every_point_asks_for_the_profile(line: PymodbusServer) -> None:
    done = await field("read", line.url, "-P", "janitza-umg96", "--json")
    assert f"Wrong profile? lichtbuch field scan '{line.url}'" in done.error["hint"]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("contactor_command[7]=on", "index 0..1"),
        ("contactor_command[0]=half", "neither on nor off"),
        ("contactor_command=on", "needs a channel index"),
        ("contactor[0]=on", "there are contactor_command, heartbeat"),
        ("heartbeat", "is no POINT=VALUE"),
        ("heartbeat=soon", "is no number"),
    ],
)
async def test_an_assignment_that_cannot_be_meant_is_never_sent(
    line: PymodbusServer, controller: Path, assignment: str, words: str
) -> None:
    done = await field("write", line.url, assignment, "-P", controller, "--yes")
    assert done.code == 2
    assert words in done.err
    assert line.requests == []


async def test_watching_a_dead_device_ends_with_4() -> None:
    done = await field("watch", "modbus+tcp://127.0.0.1:1", "-P", THREE_PHASE, "--seconds", "0.3", "--json")
    assert done.code == 4
    assert done.error["code"] == "CONNECTION_REFUSED"


# --- scan ------------------------------------------------------------------------------------------------------------


async def test_a_scan_names_who_answers_and_the_profiles_that_fit(line: PymodbusServer) -> None:
    done = await field("scan", line.url, "--units", "1-2,5", "--json")
    assert done.code == 0, done.err
    rows = {row["unit"]: row for row in done.document}
    assert sorted(rows) == [1, 2, 5]
    assert (rows[1]["vendor"], rows[1]["product"], rows[1]["revision"]) == ("ACME", "Gateway", "2.1")
    assert rows[1]["profiles"] == []
    assert THREE_PHASE in rows[2]["profiles"]
    assert rows[2]["why"] == "its values make sense"
    assert rows[5]["why"] == "SunSpec at 40000, models 1, 203"


async def test_a_scan_writes_nothing(line: PymodbusServer) -> None:
    await field("scan", line.url, "--units", "1-2")
    assert {function for _, function, _, _ in line.requests} <= {1, 2, 3, 4, 0x2B}


async def test_a_scan_tells_a_person_how_to_go_on(line: PymodbusServer) -> None:
    done = await field("scan", line.url, "--unit", "2")
    assert "read it: lichtbuch field read --profile eastron-" in done.err
    suggested = next(row for row in done.err.splitlines() if row.startswith("read it:"))
    assert suggested.endswith(f"'{line.url}?unit=2'"), "on one line, so that it can be pasted"


async def test_a_scan_of_a_line_where_nobody_is_ends_with_4() -> None:
    async def absent(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_frame(request, bytes((request[7] | 0x80, 0x0B))))

    gateway = RawServer(absent)
    await gateway.start()
    try:
        done = await field("scan", gateway.url, "--units", "1-9", "--json")
    finally:
        await gateway.stop()
    assert done.code == 4
    assert done.document == []
    assert done.error["message"].startswith("none of the units 1-9 answers")


async def test_a_scan_does_not_ask_on_where_there_is_no_connection() -> None:
    done = await field("scan", "modbus+tcp://127.0.0.1:1", "--json")
    assert done.code == 4
    assert done.error["code"] == "CONNECTION_REFUSED"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--bauds", "9600"), "only a serial line"),
        (("--units", "0-300"), "within 0 to 255"),
        (("--units", "a"), "is no number or range"),
    ],
)
async def test_a_scan_that_cannot_be_meant_is_wrong_input(arguments: tuple[str, ...], words: str) -> None:
    done = await field("scan", "modbus+tcp://127.0.0.1:1", *arguments)
    assert done.code == 2
    assert words in done.err


async def test_the_shipped_profiles_are_listed() -> None:
    done = await field("profiles", "--json")
    assert THREE_PHASE in {row["profile"] for row in done.document}
