"""What only shows when a profile is seen as a whole: places that overlap, points that name others, rules.

Places that two points have in common are shared_places.py's. Single keys are checked where they are read
(profile_loader.py, points.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from fieldbus.format.places import ModbusPlace, Table
from fieldbus.format.shared_places import check_shared_places
from fieldbus.format.toml_entry import Entry
from fieldbus.profile import PointBinding, Profile, Protocol, WatchdogMode
from fieldbus.vocabulary import PointType, Scope


def check_profile(file: Entry, profile: Profile) -> None:
    """Adds what is wrong to the file's violations."""
    _check_confirmations(file, profile)
    _check_watchdog(file, profile)
    _check_freshness(file, profile)
    check_shared_places(file, profile)
    if profile.protocol is Protocol.MODBUS:
        _check_blocks(file, profile)
        _check_overlaps(file, profile)


def _check_confirmations(file: Entry, profile: Profile) -> None:
    for name, binding in profile.points.items():
        if not binding.confirm or binding.confirm == name:
            continue
        other = profile.points.get(binding.confirm)
        if other is None or not other.direction.readable or other.scope is not binding.scope:
            reason = f"'{binding.confirm}' is no readable point of the same scope in this profile"
            file.wrong(reason, "points", name, "confirm")


def _check_watchdog(file: Entry, profile: Profile) -> None:
    rule = profile.watchdog
    if rule is None:
        return
    for key, name in (("point", rule.point), ("timeout_point", rule.timeout_point)):
        binding = profile.points.get(name)
        if not name:
            continue
        if binding is None or not binding.direction.writable or binding.scope is not Scope.DEVICE:
            file.wrong(f"'{name}' is no point of the device in this profile that can be written", "watchdog", key)
    if rule.timeout_point and rule.timeout_s is None:
        file.wrong("is missing: what is to be written to timeout_point", "watchdog", "timeout_s")
    if rule.point and rule.mode is WatchdogMode.TOUCH:
        file.wrong("mode = 'touch' needs no point: any request will do", "watchdog", "point")


def _check_freshness(file: Entry, profile: Profile) -> None:
    rule = profile.freshness
    if name := rule.live_point:
        live = profile.points.get(name)
        if profile.protocol is Protocol.OPCUA:
            file.wrong("is for Modbus: OPC UA has the time of every value", "freshness", "live_point")
        elif live is None or not live.direction.readable or live.scope is not Scope.DEVICE:
            file.wrong(f"'{name}' is no readable point of the device in this profile", "freshness", "live_point")
        elif live.point.type is PointType.TEXT:
            file.wrong(f"'{name}' is a text, which does not count", "freshness", "live_point")
    if profile.protocol is Protocol.OPCUA or (rule.max_age_s is None and not rule.frozen_after):
        return
    places = [binding.modbus for binding in profile.points.values()]
    places += [model.place for binding in profile.points.values() for _, model in binding.models]
    if profile.points and not any(place is not None and place.timestamp is not None for place in places):
        file.wrong("no point has a timestamp of the device that could be old", "freshness")


def _check_blocks(file: Entry, profile: Profile) -> None:
    """Every place must fit one request and keep off the illegal ranges."""
    limits = profile.modbus
    for name, model, binding, place in _places(profile):
        maximum = limits.max_read_bits if place.table.is_bits else limits.max_read_registers
        path = ("points", name, *model)
        if place.format.registers > maximum:
            reason = f"{place.format.registers} registers are more than max_read_registers = {maximum}"
            file.wrong(reason, *path, "type")
        for table, low, high in limits.illegal if not model else ():
            for start, length in _extents(binding, place):
                if table is place.table and start <= high and start + length > low:
                    file.wrong(f"lies in the illegal range {low}..{high}", *path, "address")
                    break


def _check_overlaps(file: Entry, profile: Profile) -> None:
    """Two points that share a part of their registers cannot both be right. One inside the other can: a word and its
    bits, an index register within a text."""
    by_space: dict[tuple[str, Table], list[tuple[int, int, str]]] = defaultdict(list)
    for name, model, binding, place in _places(profile):
        for start, length in _extents(binding, place):
            by_space[model[-1] if model else "", place.table].append((start, start + length, name))
    reported: set[tuple[str, str]] = set()
    for (model_id, _), extents in by_space.items():
        extents.sort(key=lambda extent: (extent[0], -extent[1]))
        for (start, end, name), (next_start, next_end, next_name) in pairwise(extents):
            if start < next_start < end < next_end and (name, next_name) not in reported:
                reported.add((name, next_name))
                reason = f"registers {next_start}..{end - 1} belong to points.{name} too, and neither holds the other"
                path = ("models", model_id) if model_id else ()
                file.wrong(reason, "points", next_name, *path, "address")


def _places(profile: Profile) -> Iterator[tuple[str, tuple[str, ...], PointBinding, ModbusPlace]]:
    """Name, path below the point, binding and place of all that can be read."""
    for name, binding in profile.points.items():
        if binding.modbus is not None and binding.modbus.address is not None:
            yield name, (), binding, binding.modbus
        for model_id, model in binding.models:
            if model.place.address is not None:
                yield name, ("models", str(model_id)), binding, model.place


def _extents(binding: PointBinding, place: ModbusPlace) -> Iterator[tuple[int, int]]:
    """First address and number of addresses of a place and its summed parts, for every index."""
    indices: list[int | None] = [None]
    if binding.index_range is not None:
        indices = list(range(binding.index_range[0], binding.index_range[1] + 1))
    assert place.address is not None
    for formula in (place.address, *place.sum_addresses):
        for index in indices:
            yield formula.at(binding.scope, index), place.format.registers
