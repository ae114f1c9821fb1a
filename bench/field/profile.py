"""The tag lists as device profiles, so that our field layer reads them through its public door like any product."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from bench.field.tags import LISTS, Tag, TagList
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress
from fieldbus.vocabulary import point_named


@cache
def profile_of(name: str) -> Profile:
    """The profile of a tag list."""
    tags = LISTS[name]
    return profile_from_toml(TomlSource(f"{tags.name}.toml", _toml(tags)))


def points_of(name: str) -> tuple[PointAddress, ...]:
    """The points of a tag list, in its order."""
    return tuple(PointAddress(tag.point, tag.index) for tag in LISTS[name].tags)


def _toml(tags: TagList) -> str:
    by_point: dict[str, list[Tag]] = defaultdict(list)
    for tag in tags.tags:
        by_point[tag.point].append(tag)
    lines = [
        "[profile]",
        f'name = "{tags.name}"',
        'kind = "meter"',
        'vendor = "bench"',
        'product = "Tag list"',
        'protocol = "modbus"',
        'source = "bench/field/tags.py"',
        "[modbus]",
        "wire_addresses = true",  # far apart, whatever a manual would mean by them
    ]
    for point, members in by_point.items():
        first = members[0]
        assert first.index in (None, 0)
        lines += [f"[points.{point}]", f'type = "{first.type}"', f"scale = {first.scale!r}"]
        if first.index is None:
            lines.append(f"address = {first.address}")
        else:
            stride = members[1].address - first.address
            lines += [f'address = "{first.address} + {stride}*index"', f"index = [0, {len(members) - 1}]"]
        if point_named(point).direction.writable:
            lines.append('access = "read_write"')
    return "\n".join(lines)
