"""What docs/adding-a-device.md says is true: its examples load, and every key it must name is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fieldbus import point_loader, profile_loader
from fieldbus.profile_loader import profile_from_toml
from fieldbus.toml_source import TomlSource

GUIDE = (Path(__file__).parents[2] / "docs" / "adding-a-device.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_is_a_profile_that_loads(number: int) -> None:
    assert profile_from_toml(TomlSource(f"example{number}.toml", EXAMPLES[number])).points


def test_the_guide_has_examples_of_a_meter_a_gateway_and_a_server() -> None:
    profiles = [profile_from_toml(TomlSource("example.toml", text)) for text in EXAMPLES]
    assert [(profile.kind, profile.protocol.value) for profile in profiles] == [
        ("meter", "modbus"),
        ("lamps", "modbus"),
        ("lamps", "opcua"),
    ]


def test_every_key_of_a_point_is_explained() -> None:
    keys = point_loader.MODBUS_KEYS | point_loader.OPCUA_KEYS | profile_loader.MODBUS_KEYS
    missing = sorted(key for key in keys if not re.search(rf"\b{key}\b", GUIDE))
    assert missing == []
