"""The keys for what real products need: what they become, and what is refused because it cannot be meant."""

from __future__ import annotations

import re

import pytest

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import (
    CommandSequence,
    Deadband,
    Discovery,
    Epoch,
    FreshnessRule,
    MethodCall,
    Profile,
    RawFormat,
    Table,
    WatchdogMode,
    WatchdogRule,
    WriteMode,
)
from fieldbus.profile_loader import profile_from_toml

HEAD = """\
[profile]
name = "t"
kind = "meter"
vendor = "t"
product = "t"
protocol = "{protocol}"
source = "t"
"""


def load(text: str, protocol: str = "modbus") -> Profile:
    head = HEAD.format(protocol=protocol) + ("[modbus]\n" if protocol == "modbus" and "[modbus]" not in text else "")
    return profile_from_toml(TomlSource("t.toml", head + text))


def point(keys: str, name: str = "voltage_l1") -> str:
    return f"[points.{name}]\n{keys}\n"


VOLTAGE = point('address = 4\ntype = "float32"')
SUNSPEC = '[modbus]\ndiscovery = "sunspec"\n'
MODELS = "[points.voltage_l1.models"


def reasons(text: str, protocol: str = "modbus") -> list[str]:
    with pytest.raises(InvalidInput) as error:
        load(text, protocol)
    assert all(re.fullmatch(r"t\.toml:\d+", violation.field) for violation in error.value.violations)
    return [violation.reason for violation in error.value.violations]


def test_everything_about_a_place_is_kept() -> None:
    profile = load(
        "[modbus]\nmax_in_flight = 4\n"
        + point(
            'address = 10\ntype = "int32"\nword_order = "little"\nscale_factor = { address = 12 }\n'
            "sum_addresses = [20, 0x16]\n"
            'timestamp = { address = 14, epoch = "2000", word_order = "big" }\n'
            'require = [{ address = 16, type = "bits", bits = [4, 7], equals = [3] }, '
            '{ address = 9, table = "coil", equals = [1] }]'
        )
    )
    place = profile.points["voltage_l1"].modbus
    assert place is not None
    assert profile.modbus.max_in_flight == 4
    assert place.scale_factor is not None
    assert place.scale_factor.format == RawFormat("i", 2, "big", "little")
    assert [formula.constant for formula in place.sum_addresses] == [20, 22]
    assert place.timestamp is not None
    assert (place.timestamp.epoch, place.timestamp.register.format.word_order) == (Epoch.Y2000, "big")
    assert place.require[0].register.format.bit_count == 4
    assert (place.require[1].register.table, place.require[1].equals) == (Table.COIL, (1,))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('type = "bcd16"', RawFormat("bcd", 2)),
        ('type = "bcd64"', RawFormat("bcd", 8)),
        ('type = "bits"\nbits = [4, 7]', RawFormat("u", 2, bit=4, bit_count=4)),
        ('type = "bits"\nbits = [16, 31]\nof = "uint32"', RawFormat("u", 4, bit=16, bit_count=16)),
    ],
)
def test_the_rarer_types(keys: str, expected: RawFormat) -> None:
    place = load(point(f"address = 1\n{keys}")).points["voltage_l1"].modbus
    assert place is not None
    assert place.format == expected


def test_a_text_takes_as_many_registers_as_it_says() -> None:
    place = load(point('address = 1\ntype = "string"\nlength = 16', "serial_number")).points["serial_number"].modbus
    assert place is not None
    assert place.format == RawFormat("s", 32)
    assert place.format.registers == 16


def test_a_command_may_need_a_sequence_register_or_go_to_a_coil() -> None:
    profile = load(
        '[points.level_command]\naccess = "write"\naddress = 65\ntype = "uint16"\nwrite_mode = "sequence"\n'
        "sequence = { register = 64, counter_bits = [8, 15], index_bits = [0, 7] }\n"
        '[points.contactor_command]\naccess = "read_write"\naddress = "channel"\ntype = "uint16"\n'
        'write_table = "coil"\n'
    )
    level = profile.points["level_command"].modbus
    contactor = profile.points["contactor_command"].modbus
    assert level is not None
    assert contactor is not None
    assert level.write_mode is WriteMode.SEQUENCE
    assert level.sequence is not None
    assert level.sequence == CommandSequence(level.sequence.register, (8, 15), (0, 7))
    assert contactor.write_format.kind == "b"
    assert contactor.format.kind == "u"


def test_a_heartbeat_and_what_is_old_can_be_stated() -> None:
    profile = load(
        '[watchdog]\npoint = "heartbeat"\ninterval_s = 10\nmode = "toggle"\ntimeout_s = 60\n'
        "[freshness]\nmax_age_s = 90\nfrozen_after = 3\n"
        + point(
            'access = "read_write"\naddress = 1\ntype = "uint16"\ntimestamp = { address = 2 }',
            "heartbeat",
        )
    )
    assert profile.watchdog == WatchdogRule("heartbeat", 10.0, WatchdogMode.TOGGLE, "", 60.0)
    assert profile.freshness == FreshnessRule(90.0, 3)
    touched = load('[watchdog]\nmode = "touch"\ninterval_s = 5\n' + point('address = 1\ntype = "uint16"'))
    assert touched.watchdog == WatchdogRule("", 5.0, WatchdogMode.TOUCH)


def test_an_opc_ua_point_may_be_written_elsewhere_or_by_a_call() -> None:
    profile = load(
        '[opcua]\nnamespace = "urn:t"\nmax_age_s = 30\n'
        '[points.level_command]\naccess = "read_write"\nnode = "s=L{index}"\nwrite_node = "s=L{index}.Set"\n'
        'type = "double"\ntimestamp_node = "s=Clock"\ndeadband = { percent = 5 }\n'
        '[points.lamp_failure]\nnode = "s=F{index}"\ntype = "boolean"\n'
        '[points.group_level_command]\naccess = "write"\ntype = "double"\n'
        'method = { object = "s=Lamps", node = "s=Set", arguments = ["group", "value"], types = ["uint16", "double"] }',
        "opcua",
    )
    level, group = profile.points["level_command"].node, profile.points["group_level_command"].node
    assert level is not None
    assert group is not None
    assert (level.write_node, level.timestamp_node) == ("s=L{index}.Set", "s=Clock")
    assert level.deadband == Deadband(percent=5.0)
    assert group.method == MethodCall("s=Lamps", "s=Set", ("group", "value"), ("uint16", "double"))
    assert profile.freshness.max_age_s == profile.opcua.max_age_s == 30


def test_sunspec_points_have_a_place_in_each_model() -> None:
    profile = load(
        '[modbus]\ndiscovery = "sunspec"\n[points.voltage_l1]\nmaximum = 500\n[points.voltage_l1.models]\n'
        '213 = { address = 16, type = "float32" }\n'
        '203 = { address = 6, type = "int16", scale_factor = { address = 12 } }\n'
    )
    binding = profile.points["voltage_l1"]
    assert profile.modbus.discovery is Discovery.SUNSPEC
    assert profile.needs_discovery
    assert [model for model, _ in binding.models] == [213, 203]
    assert (binding.modbus, binding.maximum) == (None, 500)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('type = "bit"\nbit = 3\nscale_factor = { address = 5 }', "scale_factor: neither a bit nor a text is scaled"),
        ('type = "bits"\nbits = [0, 3]\nsum_addresses = [5]', "sum_addresses: neither a bit nor a text can be summed"),
        ('type = "uint16"\ncurve = [[0, 0], [1, 5]]\nscale_factor = { address = 5 }', "does not go with curve"),
        ('type = "uint16"\noffset = 5\nsum_addresses = [5]', "does not go with offset"),
        ('type = "uint16"\nsum_addresses = [1]', "would be counted twice"),
        ('type = "uint16"\nsum_addresses = []', "a list of further addresses"),
        ('type = "uint16"\nsum_addresses = 5', "is not a list"),
        ('type = "string"', "a string needs length"),
        ('type = "string"\nlength = 2', "voltage_l1 is no text"),
        ('type = "uint16"\nlength = 2', 'length: belongs to type = "string"'),
        ('type = "bits"', "needs bits = [lowest, highest]"),
        ('type = "bits"\nbits = [4, 16]', "a uint16 has the bits 0..15"),
        ('type = "bits"\nbits = [7, 4]', "is not [first, last]"),
        ('type = "bits"\nbits = [0, 4]\nof = "int16"', "'int16' is none of uint16, uint32"),
        ('type = "uint16"\nof = "uint16"', 'of: belongs to type = "bits"'),
        ('type = "uint16"\nscale_factor = 5', "scale_factor: is not a table"),
        ('type = "uint16"\nscale_factor = { type = "int16" }', "scale_factor.address: is missing"),
        ('type = "uint16"\nscale_factor = { address = 2, type = "float32" }', "power of ten held as an integer"),
        ('type = "uint16"\nscale_factor = { address = 2, scale = 2 }', "scale_factor.scale: unknown key"),
        ('type = "uint16"\nscale_factor = { address = 70000 }', "address 70000"),
        ('type = "uint16"\ntimestamp = { address = 2, type = "uint16" }', "integer of 32 or 64 bits"),
        ('type = "uint16"\ntimestamp = { address = 2, epoch = "1900" }', "'1900' is none of unix, 2000"),
        ('type = "uint16"\nrequire = [{ address = 2 }]', "require.0.equals: is a list of the integers"),
        ('type = "uint16"\nrequire = [{ address = 2, equals = [1.5] }]', "require.0.equals: is a list of the integers"),
        ('type = "uint16"\nrequire = [{ address = 2, type = "float32", equals = [1] }]', "compared with integers"),
        ('type = "uint16"\nwrite_mode = "single"', "is for points that can be written"),
        ('type = "uint16"\nwrite_on_change = true', "is for points that can be written"),
        ('type = "uint16"\nmodels = { 1 = { address = 2, type = "uint16" } }', 'needs discovery = "sunspec"'),
        ('type = "uint16"\nraw_minimum = 5\nraw_maximum = 4', "no value would be left"),
        ('type = "uint16"\nmaximum = inf', "inf is not a number"),
        ('type = "uint16"\nconfirm_timeout_ms = -1', "is below 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: str, reason: str) -> None:
    found = reasons(point(f"address = 1\n{keys}"))
    assert any(reason in why for why in found), found


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('type = "uint16"\nwrite_on_change = true\nconfirm = ""', "shows what the register holds"),
        ('type = "uint32"\nwrite_mode = "single"', "2 registers cannot be written one by one"),
        ('type = "uint16"\nwrite_mode = "sequence"', "belong together"),
        ('type = "uint16"\nsequence = { register = 0 }', "belong together"),
        ('type = "uint16"\nwrite_mode = "sequence"\nsequence = { register = 7 }', "right before or right after"),
        (
            'type = "uint16"\nwrite_mode = "sequence"\nsequence = { counter_bits = [0, 1] }',
            "sequence.register: is missing",
        ),
        ('type = "uint16"\nwrite_mode = "sequence"\nsequence = { register = 0, counter_bits = [8, 16] }', "bits 0..15"),
        ('type = "uint16"\nwrite_mode = "sequence"\nsequence = { register = 0, index_bits = [0, 7] }', "has no index"),
        ('type = "uint16"\nwrite_table = "coil"', "is not a yes or no"),
        ('type = "uint16"\nwrite_table = "input"', "the input table cannot be written"),
        ('table = "coil"\nwrite_table = "holding"', "read as a bit cannot be written as a register"),
        ('type = "uint16"\nsum_addresses = [5]', "a sum cannot be written"),
    ],
)
def test_commands_that_cannot_be_meant_are_refused(keys: str, reason: str) -> None:
    found = reasons(point(f'access = "read_write"\naddress = 1\n{keys}', "heartbeat"))
    assert any(reason in why for why in found), found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (VOLTAGE + point('address = 5\ntype = "float32"', "voltage_l2"), "neither holds the other"),
        ("[modbus]\nmax_read_registers = 1\n" + VOLTAGE, "more than max_read_registers = 1"),
        ('[modbus]\nillegal = [["holding", 5, 9]]\n' + VOLTAGE, "illegal range 5..9"),
        ('[modbus]\nwrite_mode = "sequence"\n' + VOLTAGE, "of a point, with its sequence"),
        ("[modbus]\nmax_in_flight = 0\n" + VOLTAGE, "not an integer 1..64"),
        ('[modbus]\ndiscovery = "bonjour"\n' + VOLTAGE, "none of none, sunspec"),
        ("[opcua]\n[modbus]\n" + VOLTAGE, "the profile is for modbus"),
        ("[freshness]\nmax_age_s = 5\n" + VOLTAGE, "no point has a timestamp"),
        ("[freshness]\nfrozen_after = 1\n" + VOLTAGE, "not an integer 2.."),
        ('[watchdog]\npoint = "heartbeat"\ninterval_s = 5\n' + VOLTAGE, "no point of the device"),
        ('[watchdog]\nmode = "touch"\n' + VOLTAGE, "watchdog.interval_s: is missing"),
        ('[watchdog]\nmode = "touch"\ninterval_s = 5\ntimeout_s = 5\n' + VOLTAGE, "always fall back"),
        ('[watchdog]\nmode = "rub"\ninterval_s = 5\n' + VOLTAGE, "none of count, toggle, touch"),
        (SUNSPEC + MODELS + ']\nx = { address = 1, type = "int16" }', "is no model id"),
        (SUNSPEC + MODELS + '.203]\naddress = 1\ntype = "int16"\naccess = "read"', "access: unknown key"),
        (
            SUNSPEC + point("address = 1") + MODELS + '.203]\naddress = 1\ntype = "int16"',
            "belongs into each of the models",
        ),
        (
            point('address = 4\ntype = "string"\nlength = 2\nscale = 2', "serial_number"),
            "a text is no number to convert",
        ),
        (point('address = 4\ntype = "uint16"', "serial_number"), "serial_number is a text"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(text: str, reason: str) -> None:
    found = reasons(text)
    assert any(reason in why for why in found), found


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('write_node = "s=W"', "is for points that can be written"),
        ('method = { object = "s=O", node = "s=M", arguments = ["value"], types = ["double"] }', "can be written"),
        ("deadband = { absolute = 1, percent = 1 }", "absolute = ... } in the node's unit or"),
        ("deadband = { percent = 101 }", "more than the whole range"),
        ("deadband = { absolute = 0 }", "not a positive number"),
        ('timestamp_node = "Clock"', "s=<text>"),
    ],
)
def test_nodes_that_cannot_be_meant_are_refused(keys: str, reason: str) -> None:
    found = reasons('[opcua]\nnamespace = "urn:t"\n' + point(f'node = "s=V"\ntype = "double"\n{keys}'), "opcua")
    assert any(reason in why for why in found), found


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ('arguments = ["value"], types = ["double", "double"]', "2 types for 1 arguments"),
        ('arguments = ["index"], types = ["uint16"]', 'has no "value"'),
        ('arguments = ["gear", "value"], types = ["uint16", "double"]', "'gear' is none of"),
        ('arguments = ["value"], types = ["string"]', "'string' is none of"),
        ('arguments = ["value"], types = ["double"], node = "M"', "s=<text>"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(method: str, reason: str) -> None:
    node = "" if "node" in method else ', node = "s=M"'
    keys = f'access = "write"\ntype = "double"\nmethod = {{ object = "s=O", {method}{node} }}'
    found = reasons('[opcua]\nnamespace = "urn:t"\n' + point(keys, "group_level_command"), "opcua")
    assert any(reason in why for why in found), found


def test_all_mistakes_are_reported_at_once_each_at_its_line() -> None:
    text = (
        "[modbus]\nmax_in_flight = 0\ncolour = 1\n"
        '[points.voltage_l1]\naddress = 1\ntype = "uint16"\nscale_factor = { address = 2, tipe = "int16" }\nhue = 3\n'
        '[points.voltage_l2]\ntype = "bcd48"\n[[points.voltage_l2.require]]\naddress = 5\nequals = [1]\n'
        '[[points.voltage_l2.require]]\naddress = "x"\nequals = [1]\n[points.voltage_l3]\n'
    )
    with pytest.raises(InvalidInput) as error:
        load(text)
    lines = {int(violation.field.split(":")[1]) for violation in error.value.violations}
    assert lines == {9, 10, 14, 15, 17, 24}
