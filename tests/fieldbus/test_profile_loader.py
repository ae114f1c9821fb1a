"""Profiles: what is shipped is sound, and what is wrong in a file is said with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import InvalidInput, NotFound
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile, Protocol
from fieldbus.profile_loader import load_profile, load_profile_file, profile_from_toml, profile_names
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Scope

GOOD = """\
[profile]
name = "meter"
kind = "meter"
vendor = "ACME"
product = "M1"
protocol = "modbus"
source = "the maker's manual"

[modbus]
table = "input"

[points.voltage_l1]
address = 0
type = "float32"
"""


def load(text: str) -> Profile:
    return profile_from_toml(TomlSource("meter.toml", text))


def test_the_products_of_a_first_town_are_shipped() -> None:
    meters = {"eastron-sdm630", "eastron-sdm120", "eastron-sdm72dm", "abb-b23", "siemens-pac2200", "siemens-pac3200"}
    meters |= {"janitza-umg96", "janitza-b23", "carlo-gavazzi-em24", "carlo-gavazzi-em340", "schneider-iem3000"}
    meters |= {"sunspec-meter", "mbus-gateway-heat", "mbus-gateway-water", "kamstrup-multical"}
    meters |= {"kamstrup-multical-kwh", "kamstrup-multical-mwh", "kamstrup-multical-602"}
    lamps = {"intesis-dali", "arlight-dali", "ecodim-dali-gw2", "adfweb-hd67843", "wirenboard-mdm3"}
    lamps |= {"generic-level-status", "opcua-lamp", "opcua-lamp-methods"}
    others = {"cabinet-plc", "cabinet-logo8", "cabinet-wago", "light-sensor", "opcua-room"}
    others |= {"traffic-sensor", "rain-sensor", "outdoor-sensor", "tank-sensor"}
    demonstrations = {"nodeopcua-demo", "asyncua-demo"}
    assert set(profile_names()) >= meters | lamps | others | demonstrations


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_loads_and_names_its_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.points
    for point, binding in profile.points.items():
        has_place = binding.modbus is not None or bool(binding.models)
        assert has_place == (profile.protocol is Protocol.MODBUS), point
        assert (binding.node is not None) == (profile.protocol is Protocol.OPCUA), point


def test_a_profile_that_is_not_shipped_is_not_found() -> None:
    for name in ("no-such-device", "../profile", ""):
        with pytest.raises(NotFound):
            load_profile(name)


def test_points_of_one_lamp_and_of_the_device_can_be_listed() -> None:
    lamps, cabinet = load_profile("intesis-dali"), load_profile("cabinet-plc")
    assert PointAddress("lamp_power", 63) in lamps.indexed_points(Scope.GEAR, 63)
    assert PointAddress("lamp_power", 64) not in lamps.indexed_points(Scope.GEAR, 64), "energy of the first line only"
    assert PointAddress("level_actual", 64) in lamps.indexed_points(Scope.GEAR, 64)
    assert PointAddress("door_open") in cabinet.device_points


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("[profile]", "[profile", 1, "Expected"),
        ('kind = "meter"', 'kind = "toaster"', 3, "'toaster' is none of"),
        ('kind = "meter"', 'kind = "meter"\ncolour = "red"', 4, "colour: unknown key"),
        ('source = "the maker\'s manual"', "", 1, "profile.source: is missing"),
        ('protocol = "modbus"', 'protocol = "canbus"', 6, "'canbus' is none of modbus, opcua"),
        ('table = "input"', 'table = "output"', 10, "'output' is none of holding, input, coil, discrete"),
        ('table = "input"', "max_read_registers = 126", 10, "not an integer 1..125"),
        ('table = "input"', 'word_order = "middle"', 10, "neither big nor little"),
        ('table = "input"', 'illegal = [["input", 9, 3]]', 10, "first, last"),
        ("[modbus]", "[modbuss]", 9, "unknown table"),
        ("[points.voltage_l1]", "[points.volts]", 12, "'volts' is not in the vocabulary"),
        ("address = 0", "", 12, "points.voltage_l1.address: is missing"),
        ("address = 0", "address = 65535", 13, "needs 65535 and 65536, and the last register is 65535"),
        ("address = 0", 'address = "10*gear"', 13, "no variable of a device point"),
        ("address = 0", "address = 30058", 13, "addresses count from 0: write 57 (wire_addresses = true in [modbus]"),
        ("address = 0", "address = 40257", 13, 'write 256, table = "holding"'),
        ("address = 0", "address = 300058", 13, "where 300001 is the first of the input table"),
        ("address = 0", "address = 0\nsum_addresses = [30003]", 14, "sum_addresses: 30003 is the number of a register"),
        ("address = 0", "address = 00017", 13, "a number does not begin with 0; coil 00017 of a manual is address 16"),
        ('table = "input"', 'illegal = [["input", 30010, 30019]]', 10, "addresses count from 0: begin with 9"),
        ('table = "input"', 'wire_addresses = "yes"', 10, "is not true or false"),
        ("address = 0", "address = 0\nscale = 0", 14, "must not be 0"),
        ("address = 0", 'address = 0\nscale = "ten"', 14, "'ten' is not a number"),
        ("address = 0", "address = 0\nscal = 10", 14, "unknown key"),
        ("address = 0", 'address = 0\naccess = "read_write"', 14, "read only in the vocabulary"),
        ("address = 0", "address = 0\nmaximum = 2000", 14, "not within the vocabulary's 0..1000"),
        ("address = 0", "address = 0\nindex = [0, 1]", 14, "has no index"),
        ("address = 0", "address = 0\nbit = 3", 14, 'belongs to type = "bit"'),
        ("address = 0", "address = 0\nspecial = [[1, 2]]", 14, "is for integers"),
        ("address = 0", "address = 0\nnot_available = [0x1FFFFFFFF]", 14, "no bit pattern of 4 bytes"),
        ("address = 0", "address = 0\ncurve = [[2, 1], [1, 2]]", 14, "must rise"),
        ("address = 0", 'address = 0\nlevel = "percent"', 14, "for levels held as integers"),
        ('type = "float32"', 'type = "float31"', 14, "'float31' is none of"),
        ('type = "float32"', 'type = "bit"', 12, "needs bit = 0..15"),
        ('type = "float32"', "", 12, "type: is missing: one of bit, bits, uint16"),
        ('type = "float32"', 'type = "flaot32"', 14, "did you mean 'float32'?"),
        ("address = 0", "address = 0\nscal = 10", 14, "did you mean 'scale'?"),
        ("[points.voltage_l1]", "[points.voltage_ll1]", 12, "did you mean 'voltage_l1'? docs/points.md lists all"),
        ("[points.voltage_l1]", "[points.volts_of_the_second_moon]", 12, "docs/points.md lists all"),
        ("[points.voltage_l1]", '[points."level_actual[3]"]', 12, "indexes are given by [index], not in the name"),
        ("[points.voltage_l1]", '[points."level_actual/3"]', 12, "indexes are given by [index], not in the name"),
        ("[points.voltage_l1]", "[points.level_actual[3]]", 12, "indexes are given by [index], not in the name"),
        ("[modbus]", "[modbuss]", 9, "did you mean 'modbus'?"),
        ('table = "input"', 'table = "inputs"', 10, "did you mean 'input'?"),
        ('kind = "meter"', 'kind = "metre"', 3, "did you mean 'meter'?"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_reason(old: str, new: str, line: int, reason: str) -> None:
    text = GOOD.replace(old, new, 1)
    with pytest.raises(InvalidInput) as error:
        load(text)
    found = [(violation.field, violation.reason) for violation in error.value.violations]
    assert any(field == f"meter.toml:{line}" and reason in why for field, why in found), found


def test_a_device_that_is_really_asked_for_30058_says_so() -> None:
    wire = GOOD.replace('table = "input"', 'table = "input"\nwire_addresses = true').replace(
        "address = 0", "address = 30058"
    )
    place = load(wire).points["voltage_l1"].modbus
    assert place is not None
    assert place.address is not None
    assert place.address.constant == 30058


def test_a_wrong_order_of_words_is_reported_once() -> None:
    with pytest.raises(InvalidInput) as error:
        load(GOOD + 'word_order = "low"\n')
    assert len(error.value.violations) == 1


def test_a_profile_whose_product_takes_everything_needs_no_section_on_modbus() -> None:
    assert load(GOOD.replace('[modbus]\ntable = "input"\n', "")).modbus.max_read_registers == 125


def test_all_mistakes_of_a_file_are_reported_at_once() -> None:
    text = GOOD.replace('kind = "meter"', 'kind = "?"').replace('type = "float32"', 'type = "?"')
    with pytest.raises(InvalidInput) as error:
        load(text)
    assert [violation.field for violation in error.value.violations] == ["meter.toml:3", "meter.toml:14"]
    assert "meter.toml:14: points.voltage_l1.type" in str(error.value)


LAMPS = """\
[profile]
name = "lamps"
kind = "lamps"
vendor = "ACME"
product = "L1"
protocol = "modbus"
source = "manual"
notes = \"\"\"
address = 1 in a text is no key
\"\"\"
[modbus]
[index]
gear = [0, 63]
[points.level_command]
access = "read_write"
address = "gear"
type = "uint16"
level = "percent"
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('address = "gear"', "address = 5", 16, "same for every index"),
        ('address = "gear"', 'address = "2000 + line"', 16, "address 2000 is that of index 0 and of 1"),
        ('address = "gear"', 'address = "2000 + 0*gear"', 16, "address 2000 is that of index 0 and of 1"),
        ('address = "gear"', 'address = "gear"\nwrite_address = "1000 + line"', 17, "address 1000 is that of index 0"),
        ("gear = [0, 63]", "gear = [0, 127]", 16, "address 0 is that of index 0 and of 64"),
        ('type = "uint16"', 'type = "uint32"', 16, "2 addresses from 0 on, of index 0, reach into those of index 1"),
        ('address = "gear"', 'address = "gaer"', 16, "did you mean 'gear'?"),
        ('address = "gear"', 'address = "2000*gear"', 16, "address 126000 at index 63"),
        ('level = "percent"', 'level = "percent"\nscale = 10', 18, "exclude each other"),
        ('level = "percent"', 'level = "percent"\nconfirm = "level_actual"', 19, "no readable point of the same scope"),
        ("gear = [0, 63]", "gear = [5, 2]", 13, "is not [first, last]"),
        ("gear = [0, 63]", "lamp = [0, 63]", 13, "unknown key, known are channel, gear, group, line"),
        ('address = "gear"', 'address = "gear"\ntable = "input"', 15, "input table cannot be written"),
        ('type = "uint16"\nlevel = "percent"', 'type = "bit"\nbit = 3', 15, "would need the other bits"),
        ('access = "read_write"', 'access = "readwrite"', 15, "none of read, write, read_write"),
    ],
)
def test_a_mistake_in_an_indexed_point_is_reported_with_its_line(old: str, new: str, line: int, reason: str) -> None:
    assert old in LAMPS
    with pytest.raises(InvalidInput) as error:
        load(LAMPS.replace(old, new, 1))
    found = [(violation.field, violation.reason) for violation in error.value.violations]
    assert any(field == f"meter.toml:{line}" and reason in why for field, why in found), found


NODES = """\
[profile]
name = "nodes"
kind = "lamps"
vendor = "ACME"
product = "N1"
protocol = "opcua"
source = "manual"
[opcua]
namespace = "urn:acme"
[points.level_command]
node = "s=Lamp{index}"
type = "double"
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('node = "s=Lamp{index}"', 'node = "Lamp{index}"', 11, "s=<text>"),
        ('node = "s=Lamp{index}"', 'node = "s=Lamp"', 11, "same for every index"),
        ('node = "s=Lamp{index}"', 'node = "s=Lamp{line}"', 11, "'s=Lamp0' is the node of index 0 and of 1"),
        ('node = "s=Lamp{index}"', 'node = "s=Lamp{indx}"', 11, "did you mean 'index'?"),
        ('type = "double"', 'type = "duoble"', 12, "did you mean 'double'?"),
        ('type = "double"', "", 10, "type: is missing"),
        ('node = "s=Lamp{index}"', 'node = "s=Lamp{group}"', 11, "no variable of a gear point"),
        ('namespace = "urn:acme"', "", 10, "needs a namespace URI"),
        ('type = "double"', 'type = "string"', 12, "level_command is no text"),
        ('type = "double"', 'type = "double"\naddress = 3', 13, "unknown key"),
        ('namespace = "urn:acme"', 'namespace = "urn:acme"\nmax_age_s = -1', 10, "not a positive number"),
    ],
)
def test_a_mistake_in_a_node_is_reported_with_its_line(old: str, new: str, line: int, reason: str) -> None:
    assert old in NODES
    with pytest.raises(InvalidInput) as error:
        load(NODES.replace(old, new, 1))
    found = [(violation.field, violation.reason) for violation in error.value.violations]
    assert any(field == f"meter.toml:{line}" and reason in why for field, why in found), found


def test_a_file_must_be_called_as_the_profile(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"other\.toml:1.*'meter'"):
        load_profile_file(tmp_path / "other.toml")
    (tmp_path / "meter.toml").write_text(GOOD, encoding="utf-8")
    assert load_profile_file(tmp_path / "meter.toml").vendor == "ACME"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_profile_file(tmp_path / "meter.toml")
