"""The town as arrays: what control computes with in every pass, built once per change of the inventory.

Row i of every luminaire array is the same luminaire. References become row numbers, -1 where there is none. Nothing
here changes after it was built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE
from services.lighting.grouping import street_key
from services.lighting.records import FeederSupply, Inventory, SwitchingOwner

Ints = NDArray[np.int32]
Levels = NDArray[np.int16]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]

NONE = -1
NO_ROWS: Rows = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Columns:
    """The arrays. `floor` has full level where the class is unknown; `place` points into the places of the sun."""

    inventory: Inventory
    # per luminaire
    uids: tuple[str, ...]
    names: tuple[str, ...]
    town: Ints
    group: Ints
    feeder: Ints
    cabinet: Ints
    gateway: Ints
    address: Ints
    floor: Levels
    dimmable: Flags
    commanded: Flags
    output: Levels
    """The command that full light takes; all of it where no command reaches the luminaire."""
    least: Levels
    is_plain: bool
    """Whether every luminaire is told what is due as it is."""
    inner: Levels
    """What the driver makes of a command by itself."""
    place: Ints
    # per place of the sun, degrees
    place_latitude: NDArray[np.float64]
    place_longitude: NDArray[np.float64]
    # per feeder
    feeder_cabinet: Ints
    feeder_channel: Ints
    feeder_switched: Flags
    feeder_place: Ints
    # per cabinet
    cabinet_controller: Ints
    cabinet_ours: Flags
    # per gateway
    gateway_endpoint: Ints
    gateway_cabinet: Ints

    @property
    def count(self) -> int:
        """Number of luminaires."""
        return len(self.uids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of a luminaire by uid."""
        return {uid: row for row, uid in enumerate(self.uids)}

    @cached_property
    def row_of_name(self) -> dict[str, int]:
        """Row of a luminaire by resource name."""
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def group_of(self) -> dict[str, int]:
        """Row of a group by uid."""
        return {record.uid: row for row, record in enumerate(self.inventory.groups)}

    @cached_property
    def feeder_of(self) -> dict[str, int]:
        """Row of a feeder by uid."""
        return {record.uid: row for row, record in enumerate(self.inventory.feeders)}

    @cached_property
    def cabinet_of(self) -> dict[str, int]:
        """Row of a cabinet by uid."""
        return {record.uid: row for row, record in enumerate(self.inventory.cabinets)}

    @cached_property
    def town_of(self) -> dict[str, int]:
        """Row of a municipality by uid."""
        return {record.uid: row for row, record in enumerate(self.inventory.towns)}

    @cached_property
    def streets(self) -> NDArray[np.str_]:
        """Street of each luminaire, so that those that differ in case or spaces only are one; empty for none."""
        towns = self.town_of
        written = [lamp.street for lamp in self.inventory.luminaires if lamp.municipality_uid in towns]
        keys = {street: street_key(street) for street in set(written)}
        return np.array([keys[street] for street in written], dtype=np.str_)

    @cached_property
    def rows_by_gateway(self) -> list[Rows]:
        """Luminaires of each gateway, by address."""
        return _rows_by(self.gateway, len(self.inventory.gateways), self.address)

    @cached_property
    def rows_by_feeder(self) -> list[Rows]:
        """Luminaires of each feeder."""
        return _rows_by(self.feeder, len(self.inventory.feeders))

    @cached_property
    def feeders_by_cabinet(self) -> list[Rows]:
        """Feeders of each cabinet, by channel."""
        return _rows_by(self.feeder_cabinet, len(self.inventory.cabinets), self.feeder_channel)

    @cached_property
    def _rows_by_group(self) -> list[Rows]:
        return _rows_by(self.group, len(self.inventory.groups))

    @cached_property
    def _rows_by_cabinet(self) -> list[Rows]:
        return _rows_by(self.cabinet, len(self.inventory.cabinets))

    def rows_of_target(self, uid: str) -> Rows:
        """Luminaires that a target stands for now: one, or all of a group, feeder, cabinet or municipality.

        Members that join later are in it the next time; a target that is gone stands for none.
        """
        if (row := self.row_of.get(uid)) is not None:
            return np.array([row], dtype=np.intp)
        if (row := self.group_of.get(uid)) is not None:
            return self._rows_by_group[row]
        if (row := self.feeder_of.get(uid)) is not None:
            return self.rows_by_feeder[row]
        if (row := self.cabinet_of.get(uid)) is not None:
            return self._rows_by_cabinet[row]
        if (row := self.town_of.get(uid)) is not None:
            return np.flatnonzero(self.town == row)
        return NO_ROWS


def build_columns(inventory: Inventory) -> Columns:
    """The arrays of an inventory. References to what is gone become "none": control goes on without it."""
    towns = {t.uid: row for row, t in enumerate(inventory.towns)}
    groups = {g.uid: row for row, g in enumerate(inventory.groups)}
    cabinets = {c.uid: row for row, c in enumerate(inventory.cabinets)}
    feeders = {f.uid: row for row, f in enumerate(inventory.feeders)}
    gateways = {g.uid: row for row, g in enumerate(inventory.gateways)}
    endpoints = {e.uid: row for row, e in enumerate(inventory.endpoints)}
    luminaires = [lamp for lamp in inventory.luminaires if lamp.municipality_uid in towns]
    town_ids = [t.id for t in inventory.towns]

    feeder_cabinet = _ints(cabinets.get(f.cabinet_uid, NONE) for f in inventory.feeders)
    gateway_cabinet = _ints(cabinets.get(g.cabinet_uid, NONE) for g in inventory.gateways)
    town = _ints(towns[lamp.municipality_uid] for lamp in luminaires)
    feeder = _ints(feeders.get(lamp.feeder_uid, NONE) for lamp in luminaires)
    gateway = _ints(gateways.get(lamp.gateway_uid, NONE) for lamp in luminaires)
    cabinet = np.where(feeder >= 0, _take(feeder_cabinet, feeder), _take(gateway_cabinet, gateway))
    floors = np.array([lamp.floor_permille for lamp in luminaires], dtype=np.int16)

    places = _Places(inventory)
    place = _ints(
        places.of(int(cabinet_row), lamp.latitude_deg, lamp.longitude_deg, lamp.municipality_uid)
        for lamp, cabinet_row in zip(luminaires, cabinet, strict=True)
    )
    feeder_place = _ints(
        places.of(int(cabinet_row), float("nan"), float("nan"), f.municipality_uid)
        for f, cabinet_row in zip(inventory.feeders, feeder_cabinet, strict=True)
    )
    commanded = np.array([lamp.commanded for lamp in luminaires], dtype=np.bool_)
    told = commanded & (gateway != NONE)
    output = np.where(told, np.array([x.output_permille for x in luminaires], dtype=np.int16), FULL_PERMILLE)
    least = np.where(told, np.array([lamp.least_permille for lamp in luminaires], dtype=np.int16), 0)
    return Columns(
        inventory=inventory,
        uids=tuple(lamp.uid for lamp in luminaires),
        names=tuple(
            f"municipalities/{town_ids[row]}/luminaires/{lamp.id}" for row, lamp in zip(town, luminaires, strict=True)
        ),
        town=town,
        group=_ints(groups.get(lamp.group_uid, NONE) for lamp in luminaires),
        feeder=feeder,
        cabinet=cabinet.astype(np.int32),
        gateway=gateway,
        address=_ints(lamp.gateway_address for lamp in luminaires),
        floor=np.where(floors == 0, FULL_PERMILLE, floors).astype(np.int16),
        dimmable=np.array([not lamp.conflict_area for lamp in luminaires], dtype=np.bool_),
        commanded=commanded,
        output=output.astype(np.int16),
        least=least.astype(np.int16),
        inner=np.array([lamp.inner_permille for lamp in luminaires], dtype=np.int16),
        is_plain=bool((output == FULL_PERMILLE).all() and (least <= 1).all()),
        place=place,
        place_latitude=np.array(places.latitudes, dtype=np.float64),
        place_longitude=np.array(places.longitudes, dtype=np.float64),
        feeder_cabinet=feeder_cabinet,
        feeder_channel=_ints(f.channel for f in inventory.feeders),
        feeder_switched=np.array([f.supply == FeederSupply.SWITCHED for f in inventory.feeders], dtype=np.bool_),
        feeder_place=feeder_place,
        cabinet_controller=_ints(endpoints.get(c.controller_uid, NONE) for c in inventory.cabinets),
        cabinet_ours=np.array(
            [c.switching_owner == SwitchingOwner.LICHTBUCH for c in inventory.cabinets], dtype=np.bool_
        ),
        gateway_endpoint=_ints(endpoints.get(g.endpoint_uid, NONE) for g in inventory.gateways),
        gateway_cabinet=gateway_cabinet,
    )


class _Places:
    """Where the sun is computed: at the cabinet, so that its lamps switch together; else at the lamp, else in town."""

    def __init__(self, inventory: Inventory) -> None:
        self.latitudes: list[float] = []
        self.longitudes: list[float] = []
        self._rows: dict[tuple[float, float], int] = {}
        self._cabinets = [(c.latitude_deg, c.longitude_deg) for c in inventory.cabinets]
        self._towns = {t.uid: (t.latitude_deg, t.longitude_deg) for t in inventory.towns}

    def of(self, cabinet: int, latitude_deg: float, longitude_deg: float, municipality_uid: str) -> int:
        """Row of the place for something at this cabinet or position."""
        candidates = [
            *([self._cabinets[cabinet]] if cabinet >= 0 else []),
            (latitude_deg, longitude_deg),
            self._towns.get(municipality_uid, (0.0, 0.0)),
        ]
        place = next(c for c in candidates if not (isnan(c[0]) or isnan(c[1])))
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = len(self.latitudes)
            self.latitudes.append(place[0])
            self.longitudes.append(place[1])
        return row


def _ints(values: object) -> Ints:
    return np.fromiter(values, dtype=np.int32)  # type: ignore[call-overload, no-any-return]


def _take(values: Ints, rows: Ints) -> Ints:
    """values[rows], NONE where the row is NONE."""
    if not values.size:
        return np.full(rows.shape, NONE, dtype=np.int32)
    return np.where(rows >= 0, values[np.maximum(rows, 0)], NONE).astype(np.int32)


def _rows_by(key: Ints, count: int, order: Sequence[int] | Ints | None = None) -> list[Rows]:
    """Row numbers for each value 0..count-1 of a key, in the order of `order`."""
    rows = np.arange(key.size) if order is None else np.argsort(np.asarray(order), kind="stable")
    rows = rows[np.argsort(key[rows], kind="stable")]
    starts = np.searchsorted(key[rows], np.arange(count + 1))
    return [rows[starts[k] : starts[k + 1]].astype(np.intp) for k in range(count)]
