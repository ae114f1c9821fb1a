"""Whether a town makes sense: ids, references, addresses on the wire, and ranges. Its form is town.py's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from domain.errors import InvalidInput, Violation
from domain.level import PowerCurve
from simulator.town import (
    CABINET_PROFILES,
    GATEWAY_PROFILES,
    METER_PROFILES,
    PERMANENT,
    PROFILE_SENSOR,
    PROFILES_OF_ROAD_SENSORS,
    SCHEMA,
    SWITCHED,
    Luminaire,
    Town,
    read_town,
)

Key = TypeVar("Key", bound=Hashable)

COLLECTIONS = (
    "models",
    "endpoints",
    "cabinets",
    "feeders",
    "luminaires",
    "meters",
    "buildings",
    "light_sensors",
    "road_sensors",
)
# DALI lines of a gateway: the Intesis map has two, Arlight's one, OPC UA lamps are numbered freely.
LINES = {"intesis-dali": 2, "arlight-dali": 1, "opcua-lamp": 4, "generic-level-status": 1}
MOST_VIOLATIONS = 50


def load_town(path: Path) -> Town:
    """Read and check a town file. Raises InvalidInput with what is wrong, the first fifty of it."""
    town = read_town(path)
    check_town(town)
    return town


def check_town(town: Town) -> None:
    """Raises InvalidInput where the town contradicts itself."""
    violations = list(_Check(town).all())
    if violations:
        raise InvalidInput("the town contradicts itself", violations[:MOST_VIOLATIONS])


class _Check:
    def __init__(self, town: Town) -> None:
        self.town = town
        self.ids = {name: {record.id for record in getattr(town, name)} for name in COLLECTIONS}
        self.profiles = {e.id: e.profile for e in town.endpoints}

    def all(self) -> Iterator[Violation]:
        """Everything that is wrong."""
        if self.town.schema != SCHEMA:
            yield Violation("schema", f"is {self.town.schema!r}, not {SCHEMA!r}")
        for name in COLLECTIONS:
            ids = (record.id for record in getattr(self.town, name))
            yield from (Violation(f"{name}/{i}", "is there twice") for i in _twice(ids))
        yield from self._endpoints()
        yield from self._models()
        yield from self._cabinets()
        yield from self._feeders()
        yield from self._luminaires()
        yield from self._meters_and_sensors()

    def _refers(self, where: str, target: str, value: str, optional: bool = False) -> Iterator[Violation]:
        if value not in self.ids[target] and not (optional and value == ""):
            yield Violation(where, f"refers to {value!r}, which is not among {target}")

    def _speaks(self, where: str, endpoint: str, allowed: tuple[str, ...]) -> Iterator[Violation]:
        yield from self._refers(where, "endpoints", endpoint)
        if self.profiles.get(endpoint, allowed[0]) not in allowed:
            yield Violation(where, f"needs an endpoint with profile {' or '.join(allowed)}")

    def _endpoints(self) -> Iterator[Violation]:
        """An endpoint serves one device."""
        used = [c.controller for c in self.town.cabinets] + [c.gateway for c in self.town.cabinets]
        used += [m.endpoint for m in self.town.meters] + [s.endpoint for s in self.town.light_sensors]
        used += [s.endpoint for s in self.town.road_sensors]
        yield from (Violation(f"endpoints/{e}", "is used by two devices") for e in _twice(used))

    def _models(self) -> Iterator[Violation]:
        for model in self.town.models:
            try:
                PowerCurve(model.curve, model.rated_w, model.standby_w)
            except InvalidInput as error:
                yield from error.under(f"models/{model.id}").violations
            if not 0 <= model.minimum_level_permille <= 1000:
                yield Violation(f"models/{model.id}.minimum_level_permille", "must be 0 to 1000")

    def _cabinets(self) -> Iterator[Violation]:
        for c in self.town.cabinets:
            yield from self._speaks(f"cabinets/{c.id}.controller", c.controller, CABINET_PROFILES)
            yield from self._speaks(f"cabinets/{c.id}.gateway", c.gateway, GATEWAY_PROFILES)
            yield from self._refers(f"cabinets/{c.id}.meter", "meters", c.meter, optional=True)
            if c.hand_switch not in ("hand", "off", "auto"):
                yield Violation(f"cabinets/{c.id}.hand_switch", "must be hand, off or auto")
            if not (0 <= c.communication_loss_s <= 65_535 and 0 <= c.heartbeat_timeout_s <= 65_535):
                yield Violation(f"cabinets/{c.id}", "needs timeouts of 0 to 65535 s")

    def _feeders(self) -> Iterator[Violation]:
        for f in self.town.feeders:
            yield from self._refers(f"feeders/{f.id}.cabinet", "cabinets", f.cabinet)
            if f.supply not in (SWITCHED, PERMANENT):
                yield Violation(f"feeders/{f.id}.supply", "must be switched or permanent")
            if f.supply == SWITCHED and not 0 <= f.channel <= 7:
                yield Violation(f"feeders/{f.id}.channel", "must be 0 to 7 on a switched feeder")
            if f.supply == PERMANENT and f.channel != -1:
                yield Violation(f"feeders/{f.id}.channel", "must be -1 on a permanent feeder")
        channels = ((f.cabinet, f.channel) for f in self.town.feeders if f.channel >= 0)
        yield from (Violation(f"cabinets/{c}", f"has two feeders on channel {n}") for c, n in _twice(channels))

    def _luminaires(self) -> Iterator[Violation]:
        lines = {c.gateway: LINES.get(self.profiles.get(c.gateway, ""), 1) for c in self.town.cabinets}
        cabinet_of = {f.id: f.cabinet for f in self.town.feeders}
        for lamp in self.town.luminaires:
            where = f"luminaires/{lamp.id}"
            yield from self._refers(f"{where}.cabinet", "cabinets", lamp.cabinet)
            yield from self._refers(f"{where}.feeder", "feeders", lamp.feeder)
            yield from self._refers(f"{where}.model", "models", lamp.model)
            if cabinet_of.get(lamp.feeder, lamp.cabinet) != lamp.cabinet:
                yield Violation(f"{where}.feeder", f"{lamp.feeder} belongs to another cabinet")
            if lamp.gateway not in lines:
                yield Violation(f"{where}.gateway", f"refers to {lamp.gateway!r}, which is no cabinet's gateway")
            yield from _ranges(where, lamp, lines.get(lamp.gateway, 1))
        places = ((lamp.gateway, lamp.line, lamp.gear) for lamp in self.town.luminaires)
        yield from (
            Violation(f"endpoints/{gateway}", f"gear {gear} of line {line} is taken by two luminaires")
            for gateway, line, gear in _twice(places)
        )

    def _meters_and_sensors(self) -> Iterator[Violation]:
        for m in self.town.meters:
            yield from self._speaks(f"meters/{m.id}.endpoint", m.endpoint, METER_PROFILES)
            yield from self._refers(f"meters/{m.id}.cabinet", "cabinets", m.cabinet, optional=True)
            yield from self._refers(f"meters/{m.id}.building", "buildings", m.building, optional=True)
            if (m.cabinet == "") == (m.building == ""):
                yield Violation(f"meters/{m.id}", "measures either a cabinet or a building")
            if m.start_wh < 0:
                yield Violation(f"meters/{m.id}.start_wh", "must not be negative")
        for s in self.town.light_sensors:
            yield from self._speaks(f"light_sensors/{s.id}.endpoint", s.endpoint, (PROFILE_SENSOR,))
        for r in self.town.road_sensors:
            profile = PROFILES_OF_ROAD_SENSORS.get(r.kind)
            if profile is None:
                yield Violation(f"road_sensors/{r.id}.kind", f"must be {' or '.join(PROFILES_OF_ROAD_SENSORS)}")
            else:
                yield from self._speaks(f"road_sensors/{r.id}.endpoint", r.endpoint, (profile,))


def _ranges(where: str, lamp: Luminaire, lines: int) -> Iterator[Violation]:
    if not (0 <= lamp.gear <= 63 and 0 <= lamp.line < lines):
        yield Violation(f"{where}.gear", f"must be 0 to 63, on line 0 to {lines - 1}")
    if lamp.phase not in (1, 2, 3):
        yield Violation(f"{where}.phase", "must be 1, 2 or 3")
    if any(not 0 <= group <= 15 for group in lamp.groups):
        yield Violation(f"{where}.groups", "must be 0 to 15")
    for name in ("power_on_permille", "system_failure_permille"):
        if not -1 <= getattr(lamp, name) <= 1000:
            yield Violation(f"{where}.{name}", "must be 0 to 1000, or -1 for the last level")
    if not 0 <= lamp.fade_code <= 15:
        yield Violation(f"{where}.fade_code", "must be 0 to 15")
    if lamp.energy_wh < 0 or lamp.burning_s < 0:
        yield Violation(where, "must not begin with negative counters")


def _twice(keys: Iterable[Key]) -> list[Key]:
    """What occurs more than once."""
    return [key for key, count in Counter(keys).items() if count > 1]
