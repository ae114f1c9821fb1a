"""Two points at one place are refused as a slip of the pen, unless the profile says that the product means it so."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml

HEAD = """\
[profile]
name = "t"
kind = "cabinet"
vendor = "t"
product = "t"
protocol = "{protocol}"
source = "t"
[opcua]
namespace = "urn:t"
"""
L1 = 'address = 0\ntype = "uint32"\n'
SET = 'access = "read_write"\ntype = "uint16"\n'


def load(points: dict[str, str], protocol: str = "modbus") -> Profile:
    head = HEAD.format(protocol=protocol)
    if protocol == "modbus":
        head = head.split("[opcua]")[0]
    tables = "".join(f"[points.{name}]\n{keys}\n" for name, keys in points.items())
    return profile_from_toml(TomlSource("t.toml", head + tables))


def reasons(points: dict[str, str], protocol: str = "modbus") -> list[str]:
    with pytest.raises(InvalidInput) as error:
        load(points, protocol)
    return [violation.reason for violation in error.value.violations]


@pytest.mark.parametrize("other", [L1, 'address = 0\ntype = "float32"\n', 'address = 1\ntype = "uint16"\n'])
def test_a_copied_address_is_refused_whatever_its_type(other: str) -> None:
    (reason,) = reasons({"voltage_l1": L1, "voltage_l2": other})
    assert reason.startswith("points.voltage_l2.address: register or bit")
    assert 'say shares = "voltage_l1"' in reason


def test_who_says_that_two_points_are_one_may_have_both() -> None:
    third = L1 + 'shares = "voltage_l1"'
    assert load({"voltage_l1": L1, "voltage_l2": third, "voltage_l3": third}).points


@pytest.mark.parametrize(("name", "why"), [("voltage_l9", "no other point"), ("voltage_l3", "lies nowhere where")])
def test_sharing_with_a_point_that_lies_elsewhere_is_refused(name: str, why: str) -> None:
    points = {"voltage_l1": L1, "voltage_l2": f'address = 2\ntype = "uint32"\nshares = "{name}"'}
    (reason,) = reasons(points | {"voltage_l3": 'address = 4\ntype = "uint32"'})
    assert why in reason


def test_bits_of_one_word_are_different_places_and_the_same_bit_is_none() -> None:
    bits = {"door_open": 'address = 5\ntype = "bit"\nbit = 1', "lamp_on": 'address = "5 + gear"\ntype = "bit"\nbit = 2'}
    assert load(bits | {"voltage_l1": 'address = 5\ntype = "uint16"'}).points
    assert (
        "that of points.door_open too" in reasons(bits | {"lamp_on": bits["lamp_on"].replace("bit = 2", "bit = 1")})[0]
    )


def test_what_a_unit_code_tells_apart_is_not_shared() -> None:
    condition = "\nrequire = [{{ address = 9, equals = [{}] }}]"
    assert load({"voltage_l1": L1 + condition.format(1), "power_active_total": L1 + condition.format(2)}).points


def test_a_sum_is_none_of_its_parts_but_another_sum_is_the_same() -> None:
    total = 'address = 0\ntype = "uint32"\nsum_addresses = [2]'
    assert load({"energy_active_import": total, "energy_active_import_t1": L1}).points
    assert "too" in reasons({"energy_active_import": total, "energy_active_export": total})[0]


def test_two_commands_to_one_register_are_refused() -> None:
    first = {"level_power_on": SET + 'address = "100 + gear"\nwrite_address = "300 + gear"'}
    other = SET + 'address = "200 + gear"\nwrite_address = "300 + gear"'
    (reason,) = reasons(first | {"level_communication_loss": other})
    assert reason.startswith("points.level_communication_loss.write_address: register or bit 300 is that of")
    assert load(first | {"level_communication_loss": other + '\nshares = "level_power_on"'}).points


def test_a_node_of_two_points_is_refused() -> None:
    node = 'node = "s=Lamp{index}"\ntype = "double"\n'
    assert "'level_power_on'" in str(load({"level_power_on": node}, "opcua").points)
    assert "that of points.level_power_on too" in reasons({"level_power_on": node, "lamp_power": node}, "opcua")[0]
    assert load({"level_power_on": node, "lamp_power": node + 'shares = "level_power_on"'}, "opcua").points


@pytest.mark.parametrize(("scale", "kind"), [("0.1", "uint32"), ("0.001", "float32"), ("1.5", "uint32")])
def test_a_counter_that_would_lose_digits_is_refused(scale: str, kind: str) -> None:
    (reason,) = reasons({"energy_active_import": f'address = 0\ntype = "{kind}"\nscale = {scale}'})
    assert "counts whole Wh" in reason
