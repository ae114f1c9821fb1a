"""field profile-check: what a newcomer wrote into a profile, told before a device is asked with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.field.profile_table import point_rows
from fieldbus.profile_loader import load_profile, profile_names
from tests.cli.field_command import field

PROFILE = """[profile]
name = "acme"
kind = "meter"
vendor = "ACME"
product = "M3"
protocol = "modbus"
source = "the maker's manual"

[modbus]
table = "holding"

[points.power_active_total]
address = 256
type = "int32"
scale = 0.1

[points.energy_active_import]
address = 272
type = "uint32"
word_order = "little"
scale = 10
"""


def file(folder: Path, text: str = PROFILE, name: str = "acme.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


async def test_a_right_profile_is_shown_as_the_table_of_a_manual(tmp_path: Path) -> None:
    path = file(tmp_path)
    done = await field("profile-check", path)
    assert (done.code, done.err) == (0, "")
    assert f"{path}: right. ACME M3, modbus, 2 points" in done.out.replace("\n", "")
    power, energy = (line.split() for line in done.out.splitlines()[-2:])
    assert power == ["power_active_total", "read", "holding", "256", "40257", "int32", "x", "0.1", "W"]
    assert " ".join(energy) == "energy_active_import read holding 272 40273 uint32, low word first x 10 Wh"


async def test_every_mistake_of_every_file_is_told_with_its_line(tmp_path: Path) -> None:
    manual = file(tmp_path / "a", PROFILE.replace("address = 256", "address = 40257").replace("uint32", "uint31"))
    slip = file(tmp_path / "b", PROFILE.replace("scale = 0.1", "scal = 0.1"))
    done = await field("profile-check", manual, slip, "eastron-sdm120")
    assert done.code == 1
    lines = done.out.splitlines()
    assert any(
        line.startswith(f"{manual}:13: points.power_active_total.address: 40257 is the number") for line in lines
    )
    assert any("write 256 (wire_addresses = true" in line for line in lines)
    assert any(line.startswith(f"{manual}:19: points.energy_active_import.type: 'uint31' is none of") for line in lines)
    assert any(line.startswith(f"{slip}:15: ") and "did you mean 'scale'?" in line for line in lines)
    assert any(line.startswith("eastron-sdm120: right.") for line in lines), "the others are checked all the same"


async def test_programs_get_lines_and_points(tmp_path: Path) -> None:
    wrong = file(tmp_path / "a", PROFILE.replace("address = 256", "address = 40257"))
    right = file(tmp_path / "b")
    done = await field("profile-check", wrong, right, "--json")
    assert done.code == 1
    first, second = done.document
    assert (first["file"], first["profile"], first["points"]) == (str(wrong), None, [])
    assert [problem["line"] for problem in first["problems"]] == [13]
    assert (second["file"], second["profile"], second["problems"]) == (str(right), "acme", [])
    assert second["points"][0] == {
        "point": "power_active_total",
        "index": None,
        "access": "read",
        "address": "holding 256",
        "in_a_manual": "40257",
        "type": "int32",
        "raw": "x 0.1",
        "unit": "W",
    }


async def test_broken_syntax_and_files_that_are_not_there_are_told_too(tmp_path: Path) -> None:
    broken = file(tmp_path, PROFILE.replace("[modbus]", "[modbus"))
    done = await field("profile-check", broken, tmp_path / "nothing.toml")
    assert done.code == 1
    assert f"{broken}:9: " in done.out
    assert f"{tmp_path / 'nothing.toml'}: cannot be read" in done.out
    none = await field("profile-check", "no-such-device")
    assert none.code == 2
    assert "a file of your own ends with .toml" in none.err


@pytest.mark.parametrize("name", profile_names())
async def test_every_shipped_profile_is_right_and_has_a_row_for_each_point(name: str) -> None:
    profile = load_profile(name)
    rows = point_rows(profile)
    assert list(dict.fromkeys(row["point"] for row in rows)) == list(profile.points)
    assert all(row["address"] and row["type"] for row in rows)


def test_places_that_lie_elsewhere_have_both_addresses() -> None:
    rows = {row["point"]: row for row in point_rows(load_profile("intesis-dali"))}
    assert rows["level_power_on"]["address"] == (
        "holding 11 + 7000*line + 100*gear; written holding 27 + 7000*line + 100*gear"
    )
    assert rows["level_power_on"]["in_a_manual"] == "400012 to 413312; 400028 to 413328"
    assert rows["level_power_on"]["index"] == "gear 0-127"
    assert rows["lamp_failure"]["type"] == "bit 1 of uint16"
    assert rows["level_actual"]["raw"] == "percent"


def test_sums_models_factors_and_nodes_are_told() -> None:
    pac = {row["point"]: row for row in point_rows(load_profile("siemens-pac3200"))}
    assert pac["energy_active_import"]["address"] == "holding 801; plus holding 805"
    sunspec = [row for row in point_rows(load_profile("sunspec-meter")) if row["point"] == "voltage_l1"]
    assert [row["address"] for row in sunspec] == ["model 213, 214, 211, 212: 12", "model 203, 204, 201, 202: 8"]
    gateway = {row["point"]: row for row in point_rows(load_profile("mbus-gateway-heat"))}
    assert gateway["volume_heat"]["raw"] == "x 1000000 x 10^(holding 36)"
    room = {row["point"]: row for row in point_rows(load_profile("opcua-room"))}
    assert "call s=Room.{channel}.Light.Command" in room["light_level_command"]["address"]
