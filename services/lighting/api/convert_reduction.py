"""What reduces light without a command, and foreign loads, between the contract's messages and lighting's rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2
from services.lighting.store.tables import CabinetRow, LuminaireModelRow

Values = dict[str, Any]


def foreign_loads_to_proto(row: CabinetRow) -> list[inventory_pb2.ForeignLoad]:
    """What else hangs on a cabinet's meter. Loads that were stored before hours were known have none."""
    return [
        inventory_pb2.ForeignLoad(
            display_name=load[0],
            power_w=load[1],
            from_month=load[2],
            to_month=load[3],
            from_time=load[4] if len(load) > 4 else "",
            to_time=load[5] if len(load) > 5 else "",
        )
        for load in row.foreign_loads
    ]


def foreign_loads_value(cabinet: inventory_pb2.Cabinet) -> list[list[Any]]:
    """Column value of a cabinet's foreign loads. Raises InvalidInput for half a window."""
    found: list[list[Any]] = []
    for index, load in enumerate(cabinet.foreign_loads):
        _both(load.from_time, load.to_time, f"cabinet.foreign_loads[{index}]", "from_time", "to_time")
        hours = [load.from_time, load.to_time] if load.from_time else []
        found.append([load.display_name, load.power_w, load.from_month, load.to_month, *hours])
    return found


def reduction_values(feeder: inventory_pb2.Feeder) -> Values:
    """Column values of what a feeder's conductor or control phase does. Raises InvalidInput."""
    _both(feeder.reduced_from, feeder.reduced_until, "feeder", "reduced_from", "reduced_until")
    if feeder.reduced_from and feeder.reduced_from == feeder.reduced_until:
        raise InvalidInput.of("feeder.reduced_until", "is the same as reduced_from")
    return {
        "reduced_from": feeder.reduced_from,
        "reduced_until": feeder.reduced_until,
        "reduced_power_permille": feeder.reduced_power_permille,
    }


def stored_profile_to_proto(row: LuminaireModelRow) -> list[inventory_pb2.StoredReduction]:
    """The profile stored in lamps of a model."""
    return [
        inventory_pb2.StoredReduction(begin_offset_s=begin, end_offset_s=end, level_permille=level)
        for begin, end, level in row.stored_profile
    ]


def stored_profile_value(model: inventory_pb2.LuminaireModel) -> list[list[int]]:
    """Column value of a stored profile. Raises InvalidInput for stretches that are turned round or overlap."""
    field = "luminaire_model.stored_profile"
    for index, each in enumerate(model.stored_profile):
        if each.end_offset_s <= each.begin_offset_s:
            raise InvalidInput.of(f"{field}[{index}].end_offset_s", "is not after begin_offset_s")
    for index, (before, after) in enumerate(pairwise(model.stored_profile), start=1):
        if after.begin_offset_s < before.end_offset_s:
            raise InvalidInput.of(f"{field}[{index}].begin_offset_s", "lies in the stretch before it")
    return [[each.begin_offset_s, each.end_offset_s, each.level_permille] for each in model.stored_profile]


def _both(first: str, last: str, prefix: str, first_name: str, last_name: str) -> None:
    if bool(first) != bool(last):
        missing, given = (last_name, first_name) if first else (first_name, last_name)
        raise InvalidInput.of(f"{prefix}.{missing}", f"is required beside {given}")
