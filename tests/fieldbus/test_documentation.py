"""What the documents on devices say is true: examples load, and every key of the format is in the reference."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fieldbus import profile_loader
from fieldbus.format import nodes as node_loader
from fieldbus.format import points as point_loader
from fieldbus.format import registers as place_loader
from fieldbus.format import tables as format_loader
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile_loader import profile_from_toml

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "adding-a-device.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "device-profiles.md").read_text(encoding="utf-8")
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


KEYS = {
    "profile": profile_loader.PROFILE_KEYS,
    "modbus": profile_loader.MODBUS_KEYS,
    "opcua": profile_loader.OPCUA_KEYS,
    "watchdog": profile_loader.WATCHDOG_KEYS,
    "freshness": profile_loader.FRESHNESS_KEYS,
    "points.<name>": point_loader.MODBUS_KEYS | point_loader.MODEL_KEYS | point_loader.OPCUA_KEYS,
}
INLINE_KEYS = {
    "scale_factor": place_loader.SCALE_FACTOR_KEYS,
    "timestamp": place_loader.TIMESTAMP_KEYS,
    "require": place_loader.REQUIRE_KEYS,
    "sequence": place_loader.SEQUENCE_KEYS,
    "deadband": node_loader.DEADBAND_KEYS,
    "method": node_loader.METHOD_KEYS,
}


@pytest.mark.parametrize("table", KEYS)
def test_every_key_is_in_the_reference_under_its_table(table: str) -> None:
    section = REFERENCE.split(f"## `[{table}]`")[1].split("\n## ")[0]
    missing = sorted(key for key in KEYS[table] if f"`{key}`" not in section)
    assert missing == []


@pytest.mark.parametrize("key", INLINE_KEYS)
def test_every_key_of_an_inline_table_is_in_the_reference(key: str) -> None:
    missing = sorted(name for name in INLINE_KEYS[key] if not re.search(rf"`{name}`|\b{name} = ", REFERENCE))
    assert missing == []


@pytest.mark.parametrize(
    "example", sorted(set(re.findall(r"\| `([a-z_]+ = [^`]+)` \|$", REFERENCE, flags=re.MULTILINE)))
)
def test_every_example_in_the_reference_is_toml(example: str) -> None:
    assert tomllib.loads(example)


def test_every_type_is_in_the_reference() -> None:
    types = {*format_loader.TYPE_NAMES, *node_loader.VARIANT_TYPES}
    assert sorted(name for name in types if f"`{name}`" not in REFERENCE) == []
