"""Files that mean harm, or that somebody broke: refused at once, with a reason that can be shown, whatever they hold.

What a careless author gets wrong is test_profile_loader.py's and test_profile_format.py's.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.opcua.nodes import NodeName
from fieldbus.profile_loader import load_profile_file, profile_from_toml
from fieldbus.security import load_security

HEAD = """
[profile]
name = "meter"
kind = "meter"
vendor = "ACME"
product = "M1"
source = "the maker's manual"
protocol = "modbus"
"""
OPCUA = HEAD.replace('"modbus"', '"opcua"') + '[opcua]\nnamespace = "urn:acme"\n'
VOLTAGE = '[points.voltage_l1]\ntype = "uint16"\n'
LEVEL = '[points.level_actual]\nvariant = "double"\n'
BLANKS = " " * 20_000

# Every one of them takes for ever, or ends in another error than ours, where nobody looks out for it.
PROFILES = {
    "lists in lists": ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "lists without end": ("a = " + "[" * 100_000, "nested too deeply"),
    "tables in tables": ("a = " + "{a = " * 5000 + "1" + "}" * 5000, "nested too deeply"),
    "names in names": (".".join("a" * 2000) + " = 1", "nested too deeply"),
    "ever more headers": ("\n".join(f"[{'.'.join('a' * length)}]" for length in range(1, 300)), "nested too deeply"),
    "a long number": ("a = " + "9" * 5000, "too long"),
    "a number of bits without number": (HEAD + VOLTAGE + "address = 0x" + "F" * 5000, "beyond 64 bits"),
    "a formula with such a number": (HEAD + VOLTAGE + f'address = "0x{"F" * 5000}"', "larger than"),
    "a model of such a number": (
        HEAD + f'[modbus]\ndiscovery = "sunspec"\n{VOLTAGE}models = {{ "{"9" * 5000}" = {{}} }}',
        "is no model id",
    ),
    "a header of blanks": (f"a = [\n[{BLANKS}\n1]]\n", "unknown table"),
    "a header of blanks in two brackets": (f"a = [\n[[{BLANKS}\n1]]]\n", "unknown table"),
    "a header of quotes": (f"a = [\n['{BLANKS}',{BLANKS}\n1]]\n", "unknown table"),
    "more lamps than there are": (
        HEAD + '[index]\ngear = [0, 1_000_000_000_000]\n[points.level_actual]\ntype = "uint16"\naddress = "gear"',
        "ends beyond 65535",
    ),
    "more lamps of one point": (
        OPCUA + LEVEL + 'node = "s={index}"\nindex = [0, 1_000_000_000_000]',
        "ends beyond 65535",
    ),
    "a text as wide as memory": (OPCUA + LEVEL + 'node = "s={gear:>999999999}"', "is no variable"),
    "a brace inside": (OPCUA + LEVEL + 'node = "s={gear}}x"', "brace without its partner"),
    "a brace of something else": (OPCUA + LEVEL + 'node = "s={gear.__class__.__mro__}"', "is no variable"),
    "mistakes without end": (HEAD + "".join(f"k{number} = 1\n" for number in range(20_000)), "unknown key"),
    "tables without end": ("".join(f"k{number} = 1\n" for number in range(20_000)), "unknown table"),
    "points without end": (HEAD + "".join(f"[points.k{number}]\n" for number in range(10_000)), "not in the vocab"),
    "a file without end": ("#" * 300_000, "longer than"),
    "escapes in a key": (HEAD + '"\\u001b[2J\\nmeter.toml:1" = 1', "unknown key"),
    "escapes in a value": (HEAD.replace('"meter"\nvendor', '"\\u001b[2J\\u202e"\nvendor'), "not printable"),
    "escapes in a name": (HEAD + '[points."\\u001b[2J"]', "not in the vocabulary"),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_hostile_profile_is_refused_with_its_reason(name: str) -> None:
    text, reason = PROFILES[name]
    with pytest.raises(InvalidInput) as refused:
        profile_from_toml(TomlSource("meter.toml", text))
    assert reason in str(refused.value)
    for violation in refused.value.violations:
        assert violation.reason.isprintable()
        assert violation.field.startswith("meter.toml")
    assert len(refused.value.violations) <= 200


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    for read in (load_profile_file, load_security):
        with pytest.raises(InvalidInput, match=r"longer than|cannot be read"):
            read(Path("/dev/zero"))


def test_a_number_of_a_node_without_end_is_none() -> None:
    with pytest.raises(InvalidInput, match="needs a number"):
        NodeName.parse("i=" + "9" * 5000)


@pytest.mark.parametrize("section", ['modbus."plc:802"', 'opcua."plc:4840"'])
def test_a_key_that_would_be_read_for_ever_is_no_key(tmp_path: Path, section: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ca.pem").write_text("a certificate")
    file = tmp_path / "security.toml"
    for endless in ("pipe", "/dev/zero"):
        file.write_text(f'[{section}]\ncertificate = "ca.pem"\nkey = "{endless}"\n')
        with pytest.raises(InvalidInput, match="is no file"):
            load_security(file)
