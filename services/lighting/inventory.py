"""Checking an inventory that arrives in columns: every line gets its values or the reasons why it is refused. Pure.

Not here: reading files (the command does), and storing what was checked (store/importing.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from math import isfinite, isnan, nan
from typing import Any, Final

from domain.errors import InvalidInput, OutOfLimits, Violation
from domain.level import FULL_PERMILLE
from domain.names import ID_PATTERN
from services.lighting.places import swapped
from services.lighting.records import Reduction

DEFAULT_GROUP: Final = "default"
MAX_LINES: Final = 200_000
MAX_ADDRESS: Final = 4095
MAX_POWER_W: Final = 5000.0
MAX_BALLAST_W: Final = 1000.0
MIN_POWER_W: Final = 1.0
TOO_LITTLE: Final = "W is less than any street lamp draws: is it in kW?"
MAX_BURNING_HOURS: Final = 1_000_000

_ID = re.compile(ID_PATTERN)
_CLASS = re.compile(r"(M[1-6]|C[0-5]|P[1-7])?")


@dataclass
class ImportColumns:
    """Lines of an inventory in columns; a column is empty (not given) or has one value per luminaire id.

    As in lichtbuch.lighting.v1.LuminaireColumns: unknown numbers are NaN or 0, unknown texts empty, no address is -1.
    """

    luminaire_ids: list[str] = field(default_factory=list)
    source_lines: list[int] = field(default_factory=list)
    latitudes_deg: list[float] = field(default_factory=list)
    longitudes_deg: list[float] = field(default_factory=list)
    poles: list[str] = field(default_factory=list)
    streets: list[str] = field(default_factory=list)
    model_ids: list[str] = field(default_factory=list)
    feeder_ids: list[str] = field(default_factory=list)
    gateway_ids: list[str] = field(default_factory=list)
    gateway_addresses: list[int] = field(default_factory=list)
    group_ids: list[str] = field(default_factory=list)
    lighting_classes: list[str] = field(default_factory=list)
    floors_permille: list[int] = field(default_factory=list)
    conflict_areas: list[bool] = field(default_factory=list)
    installed_powers_w: list[float] = field(default_factory=list)
    previous_lamp_powers_w: list[float] = field(default_factory=list)
    previous_ballast_powers_w: list[float] = field(default_factory=list)
    previous_half_nights: list[bool] = field(default_factory=list)
    lamp_technologies: list[str] = field(default_factory=list)
    installed_on_dates: list[str] = field(default_factory=list)
    reductions: list[int] = field(default_factory=list)
    virtual_outputs_permille: list[int] = field(default_factory=list)
    initial_burning_hours: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.luminaire_ids)

    def extend(self, other: ImportColumns) -> None:
        """Appends further lines. Raises InvalidInput for columns of unequal length, OutOfLimits for too many lines."""
        before, more = len(self), len(other)
        if before + more > MAX_LINES:
            raise OutOfLimits.of("columns.luminaire_ids", f"more than {MAX_LINES} lines in one import")
        violations = []
        for column in fields(self):
            mine, theirs = getattr(self, column.name), getattr(other, column.name)
            if theirs and len(theirs) != more:
                violations.append(Violation(f"columns.{column.name}", f"{len(theirs)} values for {more} luminaire ids"))
            elif before and more and bool(mine) != bool(theirs):
                violations.append(Violation(f"columns.{column.name}", "is given in some messages and not in others"))
        if violations:
            raise InvalidInput("", violations)
        for column in fields(self):
            getattr(self, column.name).extend(getattr(other, column.name))

    def line_of(self, index: int) -> int:
        """Line of the source file, counted from 1."""
        return self.source_lines[index] if self.source_lines else index + 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a line was not taken: the field of the luminaire, the reason for a person, the value as text."""

    source_line: int
    column: str
    reason: str
    value: str = ""


@dataclass(frozen=True)
class References:
    """What lines may refer to within the municipality: ids to uids, and which addresses are taken by whom."""

    models: dict[str, str] = field(default_factory=dict)
    feeders: dict[str, str] = field(default_factory=dict)
    gateways: dict[str, str] = field(default_factory=dict)
    addresses: dict[tuple[str, int], str] = field(default_factory=dict)
    """(gateway uid, address) to the id of the luminaire that has it now."""
    town: tuple[float, float] = (nan, nan)
    """Latitude and longitude of the municipality in degrees; NaN or 0, 0 where it has not said where it lies."""


@dataclass
class CheckedImport:
    """The outcome: the indices of the lines that may be stored, their values by field of the luminaire, and the rest.

    `values` holds a list per field that was given, as long as the import; references are uids or None; groups are ids.
    """

    accepted: list[int]
    refusals: list[Refusal]
    values: dict[str, list[Any]]

    @property
    def refused_lines(self) -> int:
        """Number of lines (not of reasons) that were refused."""
        return len({refusal.source_line for refusal in self.refusals})


def check_import(columns: ImportColumns, references: References) -> CheckedImport:
    """Checks every value, every reference, duplicates within the file, and addresses at gateways."""
    if columns.gateway_addresses and not columns.gateway_ids:
        raise InvalidInput.of("columns.gateway_addresses", "addresses without gateway_ids")
    work = _Work(columns)
    # A file whose every line was refused while it was read has none left: that is no import, and no mistake of ours.
    work.values["luminaire_id"] = []
    work.each("luminaire_id", columns.luminaire_ids, _id)
    work.positions(references.town)
    work.each("pole", columns.poles, _text(64))
    work.each("street", columns.streets, _text(200))
    work.each("model_uid", columns.model_ids, _reference("luminaire model", references.models))
    work.each("feeder_uid", columns.feeder_ids, _reference("feeder", references.feeders))
    work.each("gateway_uid", columns.gateway_ids, _reference("gateway", references.gateways))
    work.each("group_id", columns.group_ids, _group)
    work.each("lighting_class", columns.lighting_classes, _lighting_class)
    work.each("floor_permille", columns.floors_permille, _whole(0, FULL_PERMILLE, "per mille"))
    work.each("conflict_area", columns.conflict_areas, bool)
    work.each("installed_power_w", columns.installed_powers_w, _power(MAX_POWER_W, MIN_POWER_W))
    work.each("previous_lamp_power_w", columns.previous_lamp_powers_w, _power(MAX_POWER_W, MIN_POWER_W))
    work.each("previous_ballast_power_w", columns.previous_ballast_powers_w, _power(MAX_BALLAST_W))
    work.each("previous_half_night", columns.previous_half_nights, bool)
    work.each("lamp_technology", columns.lamp_technologies, _text(100))
    work.each("installed_on", columns.installed_on_dates, _day)
    work.each("reduction", columns.reductions, _reduction)
    work.each("virtual_output_permille", columns.virtual_outputs_permille, _whole(0, FULL_PERMILLE, "per mille"))
    work.each("initial_burning_hours", columns.initial_burning_hours, _whole(0, MAX_BURNING_HOURS, "h"))
    work.addresses()
    work.duplicates()
    work.clashes(references.addresses)
    return work.result()


class _Refused(Exception):
    """A value that cannot be taken, with the reason."""


class _Work:
    """One import being checked."""

    def __init__(self, columns: ImportColumns) -> None:
        self.columns = columns
        self.refusals: list[Refusal] = []
        self.refused: set[int] = set()
        self.values: dict[str, list[Any]] = {}

    def refuse(self, index: int, column: str, reason: str, value: object = "") -> None:
        """Refuses a line."""
        self.refused.add(index)
        shown = "" if value is None else str(value)[:100]
        self.refusals.append(Refusal(self.columns.line_of(index), _SHOWN.get(column, column), reason, shown))

    def each(self, name: str, given: Sequence[Any], convert: Callable[[Any], Any]) -> None:
        """Converts a column value by value; nothing where it was not given."""
        if not given:
            return
        converted: list[Any] = []
        for index, value in enumerate(given):
            try:
                converted.append(convert(value))
            except _Refused as refused:
                converted.append(None)
                self.refuse(index, name, str(refused), value)
        self.values[name] = converted

    def positions(self, town: tuple[float, float]) -> None:
        """Latitude and longitude come together; NaN, or 0 and 0, is unknown."""
        latitudes, longitudes = self.columns.latitudes_deg, self.columns.longitudes_deg
        if bool(latitudes) != bool(longitudes):
            raise InvalidInput.of("columns.latitudes_deg", "latitudes and longitudes come together")
        if not latitudes:
            return
        self.values["latitude_deg"], self.values["longitude_deg"] = [], []
        for index, (latitude, longitude) in enumerate(zip(latitudes, longitudes, strict=True)):
            known = not (isnan(latitude) and isnan(longitude)) and (latitude, longitude) != (0.0, 0.0)
            if known and not -90 <= latitude <= 90:
                self.refuse(index, "latitude_deg", "is not between -90 and 90 degrees", latitude)
            if known and not -180 <= longitude <= 180:
                self.refuse(index, "longitude_deg", "is not between -180 and 180 degrees", longitude)
            if known and (why := swapped(latitude, longitude, *town)):
                self.refuse(index, "latitude_deg", why, latitude)
            self.values["latitude_deg"].append(latitude if known else None)
            self.values["longitude_deg"].append(longitude if known else None)

    def addresses(self) -> None:
        """A luminaire with a gateway has an address there; one without has none."""
        gateways = self.values.get("gateway_uid")
        if gateways is None:
            return
        given = self.columns.gateway_addresses or [-1] * len(gateways)
        self.values["gateway_address"] = [0] * len(gateways)
        for index, (gateway, address) in enumerate(zip(gateways, given, strict=True)):
            if gateway is None:
                continue
            if not 0 <= address <= MAX_ADDRESS:
                reason = (
                    "is needed where there is a gateway" if address == -1 else f"is not between 0 and {MAX_ADDRESS}"
                )
                self.refuse(index, "gateway_address", reason, address)
            self.values["gateway_address"][index] = address

    def duplicates(self) -> None:
        """The same id twice: the first line counts."""
        first: dict[str, int] = {}
        for index, identifier in enumerate(self.columns.luminaire_ids):
            before = first.setdefault(identifier, index)
            if before != index:
                line = self.columns.line_of(before)
                self.refuse(index, "luminaire_id", f"is in the file already, in line {line}", identifier)

    def clashes(self, taken: dict[tuple[str, int], str]) -> None:
        """Two luminaires at one address of a gateway, in the file or against what is stored.

        A refused line leaves its luminaire where it is stored now, which may refuse a further line: until all is still.
        """
        gateways = self.values.get("gateway_uid")
        if gateways is None:
            return
        addresses = self.values["gateway_address"]
        before = -1
        while before != len(self.refused):
            before = len(self.refused)
            accepted = [index for index in range(len(self.columns)) if index not in self.refused]
            moving = {self.columns.luminaire_ids[index] for index in accepted}
            owner: dict[tuple[str, int], int] = {}
            for index in accepted:
                key = (gateways[index], addresses[index])
                if key[0] is None:
                    continue
                stored = taken.get(key)
                if stored is not None and stored not in moving:
                    self.refuse(index, "gateway_address", f"is the address of luminaire {stored} already", key[1])
                elif owner.setdefault(key, index) != index:
                    line = self.columns.line_of(owner[key])
                    self.refuse(index, "gateway_address", f"is the address of line {line} already", key[1])

    def result(self) -> CheckedImport:
        """What came out."""
        accepted = [index for index in range(len(self.columns)) if index not in self.refused]
        self.refusals.sort(key=lambda refusal: refusal.source_line)
        return CheckedImport(accepted, self.refusals, self.values)


_SHOWN: Final = {"model_uid": "model", "feeder_uid": "feeder", "gateway_uid": "gateway", "group_id": "group"}


def _id(value: str) -> str:
    if not value:
        raise _Refused("is empty; every luminaire needs an id")
    if not _ID.fullmatch(value):
        raise _Refused("is not an id: letters, digits and ._~- , at most 63, beginning with a letter or digit")
    return value


def _group(value: str) -> str:
    return _id(value) if value else ""


def _text(longest: int) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if len(value.encode("utf-8")) > longest:
            raise _Refused(f"is longer than {longest} bytes")
        return value

    return convert


def _reference(kind: str, known: dict[str, str]) -> Callable[[str], str | None]:
    def convert(value: str) -> str | None:
        if not value:
            return None
        uid = known.get(value)
        if uid is None:
            raise _Refused(f"there is no {kind} of this id")
        return uid

    return convert


def _lighting_class(value: str) -> str:
    if not _CLASS.fullmatch(value):
        raise _Refused("is not a class of EN 13201 (M1..M6, C0..C5, P1..P7)")
    return value


def _whole(least: int, largest: int, unit: str) -> Callable[[int], int]:
    def convert(value: int) -> int:
        if not least <= value <= largest:
            raise _Refused(f"is not between {least} and {largest} {unit}")
        return value

    return convert


def _power(largest: float, least: float = 0.0) -> Callable[[float], float]:
    def convert(value: float) -> float:
        if isnan(value):
            return 0.0
        if not isfinite(value) or not 0 <= value <= largest:
            raise _Refused(f"is not between 0 and {largest:g} W")
        if 0 < value < least:
            raise _Refused(f"{value:g} {TOO_LITTLE}")
        return value

    return convert


def _reduction(value: int) -> int:
    if value not in list(Reduction):
        raise _Refused("is no known kind of reduction")
    return int(value)


def _day(value: str) -> str:
    if not value:
        return ""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise _Refused("is not a date as 2024-05-31") from None
    if len(value) != 10 or not 1900 <= day.year <= 2200:
        raise _Refused("is not a date as 2024-05-31, between 1900 and 2200")
    return value
