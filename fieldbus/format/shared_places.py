"""Two points at one place: a slip of the pen, unless the profile says with `shares` that the product means it so.

A copied address reads as a plausible value of the wrong point, and a copied write address sends commands for one thing
to another. Bits of one word, and points told apart by what `require` reads beside them, do not share a place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise

from fieldbus.format.formula import index_variables, telling_indexes
from fieldbus.format.places import ModbusPlace
from fieldbus.format.toml_entry import Entry, did_you_mean
from fieldbus.profile import PointBinding, Profile

_Space = tuple[Hashable, ...]
_Extent = tuple[int, int, str]  # first address, address after the last, point


def check_shared_places(file: Entry, profile: Profile) -> None:
    """Adds places in common, and `shares` where nothing is shared, to the file's violations."""
    _Sharing(file, profile).check()


class _Sharing:
    def __init__(self, file: Entry, profile: Profile) -> None:
        self._file = file
        self._profile = profile
        self._named = self._read_names()
        self._used: set[str] = set()
        self._reported: set[tuple[str, str]] = set()

    def _read_names(self) -> dict[str, str]:
        named: dict[str, str] = {}
        for name, entry in self._file.data.get("points", {}).items():
            other = entry.get("shares") if isinstance(entry, dict) else None
            if other is None or name not in self._profile.points:
                continue
            if isinstance(other, str) and other != name and other in self._profile.points:
                named[name] = other
            else:
                meant = did_you_mean(other, (point for point in self._profile.points if point != name))
                self._file.wrong(f"{other!r} is no other point of this profile{meant}", "points", name, "shares")
        return named

    def check(self) -> None:
        """All tables and nodes, read and written."""
        for what, spaces in (("address", self._read()), ("write_address", self._written())):
            for extents in spaces.values():
                ordered = sorted(extents, key=lambda one: (one[0], -one[1], one[2]))
                for (_, end, name), (start, next_end, other) in pairwise(ordered):
                    if start < end and (what == "write_address" or next_end <= end):
                        self._common(name, other, f"register or bit {start}", what)
        for key, nodes in (("node", self._nodes(written=False)), ("write_node", self._nodes(written=True))):
            first: dict[Hashable, str] = {}
            for node, name in nodes:
                self._common(first.setdefault(node, name), name, str(node[-1]), key)
        for name, other in self._named.items():
            if name not in self._used:
                self._file.wrong(f"lies nowhere where points.{other} lies", "points", name, "shares")

    def _common(self, name: str, other: str, where: str, key: str) -> None:
        """What two points have in common is refused, unless one says so or both name the same third."""
        if name == other:
            return
        if self._root(name) == self._root(other):
            self._used |= {name, other}
            return
        pair = (min(name, other), max(name, other))
        if pair in self._reported:
            return
        self._reported.add(pair)
        entries = list(self._profile.points)
        name, other = sorted((name, other), key=entries.index)
        table = self._file.data["points"][other]
        key = key if key in table else key.removeprefix("write_")
        reason = f'{where} is that of points.{name} too: if the product means it so, say shares = "{name}"'
        self._file.wrong(reason, "points", other, key)

    def _root(self, name: str) -> str:
        seen: set[str] = set()
        while name in self._named and name not in seen:
            seen.add(name)
            name = self._named[name]
        return name

    def _read(self) -> dict[_Space, set[_Extent]]:
        """What is read whole or in the same bits, by table, model and conditions.

        Partial overlaps are checks.py's; a sum is none of its parts, so it is compared with other sums only.
        """
        spaces: dict[_Space, set[_Extent]] = defaultdict(set)
        for model, name, binding, place in _places(self._profile):
            if place.address is None:
                continue
            found = place.format
            sums = tuple(place.sum_addresses)
            space = (model, place.table, found.is_text, found.bit, found.bit_count, place.require, sums)
            for index in _indices(binding):
                start = place.address.at(binding.scope, index)
                spaces[space].add((start, start + found.registers, name))
        return spaces

    def _written(self) -> dict[_Space, set[_Extent]]:
        """What commands go to. With a sequence register its bits say which command it is."""
        spaces: dict[_Space, set[_Extent]] = defaultdict(set)
        for model, name, binding, place in _places(self._profile):
            if place.write_address is None or place.sequence is not None:
                continue
            for index in _indices(binding):
                start = place.write_address.at(binding.scope, index)
                spaces[model, place.write_table].add((start, start + place.format.registers, name))
        return spaces

    def _nodes(self, *, written: bool) -> Iterator[tuple[tuple[str, str], str]]:
        for name, binding in self._profile.points.items():
            place = binding.node
            if place is None or (written and (not binding.direction.writable or place.method is not None)):
                continue
            node = (place.write_node or place.node) if written else place.node
            if not node or not (written or binding.direction.readable):
                continue
            for index in telling_indexes(*binding.index_range) if binding.index_range else (None,):
                yield (place.namespace, node.format(**index_variables(binding.scope, index))), name


def _places(profile: Profile) -> Iterator[tuple[int | None, str, PointBinding, ModbusPlace]]:
    """Model, name, binding and place of every point on Modbus."""
    for name, binding in profile.points.items():
        if binding.modbus is not None:
            yield None, name, binding, binding.modbus
        for model, found in binding.models:
            yield model, name, binding, found.place


def _indices(binding: PointBinding) -> Iterable[int | None]:
    if binding.index_range is None:
        return (None,)
    return range(binding.index_range[0], binding.index_range[1] + 1)
