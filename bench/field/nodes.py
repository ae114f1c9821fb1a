"""The OPC UA work that all contenders do: which nodes, which values, how they become the vocabulary's units."""

from __future__ import annotations

from functools import cache
from typing import Final

from bench.field.tags import checksum
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress

NAMESPACE: Final = "urn:lichtbuch:bench"
VARIANTS: Final = 16  # sets of values that the notifications go through

# point, last part of the node id, type of the variable, scale
POINTS: Final = (
    ("level_actual", "Level", "double", 10.0),
    ("lamp_power", "Power", "double", 1.0),
    ("gear_temperature", "Temperature", "float", 1.0),
    ("lamp_energy", "Energy", "uint64", 1.0),
    ("burning_hours", "BurningTime", "uint32", 1.0),
    ("lamp_starts", "Starts", "uint16", 1.0),
    ("lamp_failure", "LampFailure", "boolean", 1.0),
    ("fade_running", "Fading", "boolean", 1.0),
)


def node_name(lamp: int, part: str) -> str:
    """The string identifier of a variable."""
    return f"Lamp.{lamp}.{part}"


def raw_value(lamp: int, column: int, variant: int) -> float | int | bool:
    """What a variable holds."""
    kind = POINTS[column][2]
    number = (lamp * 7 + column * 13 + variant) % 90
    if kind == "boolean":
        return number % 2 == 1
    return number + 0.5 if kind in ("double", "float") else number


def expected(lamps: int, variant: int = 0) -> float:
    """The checksum over all values in the vocabulary's units."""
    return checksum(
        [raw_value(lamp, column, variant) * scale for column, (_, _, _, scale) in enumerate(POINTS)]
        for lamp in range(lamps)
    )


def points(lamps: int) -> tuple[PointAddress, ...]:
    """All points, lamp by lamp."""
    return tuple(PointAddress(point, lamp) for lamp in range(lamps) for point, *_ in POINTS)


@cache
def profile() -> Profile:
    """The nodes as a device profile."""
    lines = [
        "[profile]",
        'name = "bench-nodes"',
        'kind = "lamps"',
        'vendor = "bench"',
        'product = "Nodes"',
        'protocol = "opcua"',
        'source = "bench/field/nodes.py"',
        "[opcua]",
        f'namespace = "{NAMESPACE}"',
        "[index]",
        "gear = [0, 65535]",
    ]
    for point, part, kind, scale in POINTS:
        lines += [f"[points.{point}]", f'node = "s={node_name(0, part)}"'.replace(".0.", ".{index}.")]
        lines += [f'type = "{kind}"', f"scale = {scale!r}"]
    return profile_from_toml(TomlSource("bench-nodes.toml", "\n".join(lines)))
