"""What docs/field-tool.md tells an engineer to type exists: commands, options, profiles, codes."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from cli.field.registers import parse_registers
from fieldbus.profile_loader import profile_names
from fieldbus.security import load_security
from fieldbus.url import parse_url
from tests.cli.field_command import field

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "field-tool.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.removeprefix("    lichtbuch field "))
    for line in DOCUMENT.splitlines()
    if line.startswith("    lichtbuch field ")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_every_command_is_one(command: list[str]) -> None:
    name, *arguments = command
    helped = await field(name, "--help")
    for option in (argument for argument in arguments if argument.startswith("--")):
        assert option in helped.out, f"{name} has no {option}"
    for url in (argument for argument in arguments if "://" in argument):
        parse_url(url)
    for option, value in pairwise(arguments):
        if option == "--profile":
            assert value in profile_names()
        if option == "--register":
            assert parse_registers(value.partition("=")[0])


def test_the_addresses_of_the_table_are_addresses() -> None:
    urls = re.findall(r"^\| `([^` ]+://[^` ]+)` \|", DOCUMENT, re.MULTILINE)
    assert len(urls) == 5
    for url in urls:
        parse_url(url)


def test_the_security_file_of_the_document_is_one(tmp_path: Path) -> None:
    block = DOCUMENT.partition("```toml\n")[2].partition("```")[0]
    for name in re.findall(r'"([\w.-]+\.(?:pem|key|der|password))"', block):
        (tmp_path / name).write_text("", encoding="utf-8")
    file = tmp_path / "security.toml"
    file.write_text(block, encoding="utf-8")
    security = load_security(file)
    assert (len(security.modbus), len(security.opcua)) == (1, 1)
