"""What lighting says of groups' loads and of cabinets, as the scheduler has it. Nothing is decided here."""

from __future__ import annotations

from datetime import time

from lichtbuch.lighting.v1 import inventory_pb2, loads_pb2
from services.scheduler.cabinet_loads import CabinetLoad, ForeignLoad
from services.scheduler.loads import GroupLoad, LoadPart, LoadWindow, Window


def load_from_proto(load: loads_pb2.GroupLoad) -> GroupLoad:
    """A group's load."""
    return GroupLoad(
        tuple(map(_part, load.parts)),
        load.luminaire_count,
        load.estimated_count,
        load.undimmed_count,
        load.foreign_count,
        load.unknown_reduction_count,
    )


def cabinet_from_proto(cabinet: loads_pb2.CabinetLoad) -> CabinetLoad:
    """A cabinet with its foreign loads."""
    position = cabinet.position
    return CabinetLoad(
        cabinet.cabinet,
        (position.latitude_deg, position.longitude_deg) if cabinet.HasField("position") else None,
        tuple(map(_foreign, cabinet.foreign_loads)),
        cabinet.luminaire_count,
    )


def _part(part: loads_pb2.GroupLoadPart) -> LoadPart:
    return LoadPart(
        part.position.latitude_deg,
        part.position.longitude_deg,
        part.floor_permille,
        part.dimmable,
        part.luminaire_count,
        tuple(part.levels_permille),
        tuple(part.powers_w),
        part.standby_power_w,
        tuple(map(_window, part.windows)),
        part.longest_ramp_s,
        part.stays_supplied,
        part.cabinet,
    )


def _window(window: loads_pb2.LoadWindow) -> LoadWindow:
    when = (
        Window(time.fromisoformat(window.begin_time), time.fromisoformat(window.end_time))
        if window.begin_time
        else Window(None, None, window.begin_offset_s, window.end_offset_s)
    )
    return LoadWindow(when, window.level_permille, window.power_w)


def _foreign(load: inventory_pb2.ForeignLoad) -> ForeignLoad:
    hours = (time.fromisoformat(load.from_time), time.fromisoformat(load.to_time)) if load.from_time else None
    return ForeignLoad(load.display_name, load.power_w, load.from_month, load.to_month, hours)
