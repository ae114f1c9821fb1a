"""Raw registers from the command line: read with raw words and value, written with read-back, no profile needed."""

from __future__ import annotations

import pytest

from tests.cli.field_command import field
from tests.fieldbus.servers import PymodbusServer
from tests.support.ports import free_port


async def test_registers_are_read_with_raw_words_and_decoded_value(line: PymodbusServer) -> None:
    done = await field(
        "read", line.url, "--register", "holding:40", "--register", "holding:41:int16",
        "--register", "holding:100:float32", "--register", "holding:0x66:float32:big,little",
        "--register", "holding:104-106:string", "--register", "input:2-3", "--register", "coil:3", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [(row["register"], row["raw"], row["value"]) for row in done.document] == [
        ("holding:40", "0011", 17),
        ("holding:41", "8000", -32768),
        ("holding:100", "435F 8000", 223.5),
        ("holding:102", "0000 3FC0", 1.5),
        ("holding:104", "4142 4344 0000", "ABCD"),
        ("input:2", "0002", 2),
        ("input:3", "0003", 3),
        ("coil:3", "0", False),
    ]
    assert {row["quality"] for row in done.document} == {"good"}


async def test_only_the_registers_that_were_named_are_touched(line: PymodbusServer) -> None:
    await field("read", line.url, "--register", "holding:40", "--register", "holding:100:float32")
    assert sorted(line.requests) == [(1, 3, 40, 1), (1, 3, 100, 2)]


async def test_a_register_that_is_not_there_makes_a_partial_reading(line: PymodbusServer) -> None:
    done = await field("read", line.url, "--register", "holding:40", "--register", "holding:500")
    assert done.code == 3
    assert "exception 02: illegal data address" in done.err
    assert "addresses count from 0" in done.err


async def test_nothing_but_refusals_ends_with_5_and_says_why_in_json(line: PymodbusServer) -> None:
    done = await field("read", line.url, "--register", "holding:500", "--json")
    assert done.code == 5
    assert done.document[0]["quality"] == "bad"
    assert done.error["code"] == "ILLEGAL_ADDRESS"
    assert "40108 in a manual is holding:107" in done.error["hint"]


async def test_the_number_of_a_manual_is_told_which_register_it_means(line: PymodbusServer) -> None:
    done = await field("read", line.url, "--register", "holding:40", "--register", "holding:40108")
    assert done.code == 3
    assert "what a manual calls 40108 is holding:107" in done.err
    done = await field("read", line.url, "--register", "holding:40")
    assert "manual" not in done.err


async def test_nobody_at_the_port_ends_with_4_and_says_what_to_check() -> None:
    done = await field("read", f"modbus+tcp://127.0.0.1:{free_port()}", "--register", "holding:0", "--json")
    assert done.code == 4
    assert done.error["code"] == "CONNECTION_REFUSED"
    assert "check the port" in done.error["hint"]


async def test_a_write_is_read_back_in_its_own_type(line: PymodbusServer) -> None:
    done = await field(
        "write", line.url, "--register", "holding:40=0x12", "--register", "holding:100:float32=230.5",
        "--register", "holding:102:float32:big,little=2.5", "--register", "coil:2=on", "--yes", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [(row["outcome"], row["read_back"]) for row in done.document] == [
        ("confirmed", 18.0),
        ("confirmed", 230.5),
        ("confirmed", 2.5),
        ("confirmed", 1.0),
    ]
    assert line.registers(1, "holding", 102, 2) == [0x0000, 0x4020]
    assert line.bit(1, "coil", 2)
    assert "bypasses the owner, the floors and the audit" in done.err


@pytest.mark.parametrize("answers", ["", "n\n", "\n"])
async def test_without_an_agreement_nothing_is_written(line: PymodbusServer, answers: str) -> None:
    done = await field("write", line.url, "--register", "holding:40=18", answers=answers)
    assert done.code == 5
    assert line.registers(1, "holding", 40) == [17]
    assert "nothing was written" in done.err


async def test_a_person_who_answers_y_writes(line: PymodbusServer) -> None:
    done = await field("write", line.url, "--register", "holding:40=18", answers="y\n")
    assert done.code == 0, done.err
    assert line.registers(1, "holding", 40) == [18]


async def test_a_refused_write_ends_with_5_and_names_the_register(line: PymodbusServer) -> None:
    done = await field("write", line.url, "--register", "holding:700=1", "--yes", "--json")
    assert done.code == 5
    assert done.document[0]["outcome"] == "refused"
    assert done.error["message"].startswith("holding:700: exception 02")


async def test_a_write_of_which_a_part_is_refused_ends_with_3(line: PymodbusServer) -> None:
    done = await field("write", line.url, "--register", "holding:40=3", "--register", "holding:700=1", "--yes")
    assert done.code == 3
    assert line.registers(1, "holding", 40) == [3]


async def test_multiple_writes_one_register_with_function_16(line: PymodbusServer) -> None:
    await field("write", line.url, "--register", "holding:40=9", "--multiple", "--yes")
    assert (1, 16, 40, 1) in line.requests


@pytest.mark.parametrize(
    ("register", "words"),
    [
        ("holdings:1", "does not begin with a table"),
        ("holding:x", "is no address"),
        ("holding:70000", "0 to 65535"),
        ("holding:9-3", "the lower one first"),
        ("holding:1:float", "is none of uint16"),
        ("holding:1-3:float32", "no whole number of float32"),
        ("holding:1:float32:big", "BYTES,WORDS"),
        ("holding:1:string", "a text needs its registers"),
        ("coil:1:uint16", "is a bit and has no type"),
        ("holding:65535:uint32", "ends beyond address 65535"),
    ],
)
async def test_a_register_that_cannot_be_meant_is_wrong_input(register: str, words: str) -> None:
    done = await field("read", "modbus+tcp://127.0.0.1:1", "--register", register, "--json")
    assert done.code == 2
    assert done.error["field"] == "register"
    assert words in done.error["violations"][0]["reason"]


@pytest.mark.parametrize(
    ("register", "words"),
    [
        ("holding:1", "says no value"),
        ("input:1=3", "no function to write"),
        ("holding:1=70000", "does not fit into uint16"),
        ("holding:1:int16=-32769", "does not fit into int16"),
        ("holding:1=1.5", "is no uint16"),
        ("coil:1=maybe", "neither on nor off"),
        ("holding:1:uint64=9007199254740993", "cannot be written exactly"),
        ("holding:1-4:string=AB", "can only be read here"),
    ],
)
async def test_a_value_that_cannot_be_meant_is_never_sent(line: PymodbusServer, register: str, words: str) -> None:
    done = await field("write", line.url, "--register", register, "--yes")
    assert done.code == 2
    assert words in done.err
    assert line.requests == []


async def test_what_to_read_has_to_be_said_once(line: PymodbusServer) -> None:
    nothing = await field("read", line.url)
    both = await field("read", line.url, "--register", "holding:1", "--profile", "eastron-sdm630")
    foreign = await field("read", line.url, "--node", "i=2258")
    assert (nothing.code, both.code, foreign.code) == (2, 2, 2)
    assert "--profile, or --register, or --node" in nothing.err
    assert "Modbus has registers, not nodes" in foreign.err


async def test_watching_shows_a_register_once_until_it_changes(line: PymodbusServer) -> None:
    done = await field("watch", line.url, "--register", "holding:40", "--interval", "0.1", "--seconds", "1.5", "--json")
    assert done.code == 0, done.err
    assert done.out.count("holding:40") == 1


async def test_without_a_terminal_the_answer_that_is_missing_ends_the_line_of_the_question(
    line: PymodbusServer,
) -> None:
    done = await field("write", line.url, "--register", "holding:40=18")
    assert done.err.splitlines()[-3:-1] == ["Write? [y/N]: ", "lichtbuch: nothing was written"]


async def test_an_illegal_register_is_what_is_to_blame(line: PymodbusServer) -> None:
    read = await field("read", line.url, "--register", "holding:500", "--json")
    written = await field("write", line.url, "--register", "holding:700=1", "--yes", "--json")
    assert (read.error["field"], written.error["field"]) == ("register", "register")
