"""What a simulated town consists of, as plain records, and their JSON form.

The same JSON is answered by `GET /town` and read by `--town FILE`. Nothing here moves: states, levels and counters live
in the physics modules. Ids are short names within the town (`L-0001`), without a municipality in front of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from domain.errors import InvalidInput, Violation

SCHEMA = "lichtbuch-simulated-town/1"

# Names of the device profiles that a client would use for the endpoint; the simulator only passes them on.
PROFILE_CABINET = "cabinet-plc"
PROFILE_SENSOR = "light-sensor"
GATEWAY_PROFILES = ("intesis-dali", "arlight-dali", "opcua-lamp")
METER_PROFILES = ("eastron-sdm630", "abb-b23", "janitza-umg96")

ALL_NIGHT = "all-night"
HALF_NIGHT = "half-night"
SWITCHED = "switched"
PERMANENT = "permanent"


@dataclass(frozen=True)
class Model:
    """A luminaire model: rated and standby power in W, and power over light output, both in per mille of rated."""

    id: str
    name: str
    technology: str
    rated_w: float
    standby_w: float
    luminous_flux_lm: int
    colour_temperature_k: int
    curve: tuple[tuple[int, int], ...]
    minimum_level_permille: int = 10


@dataclass(frozen=True)
class PreviousOperation:
    """What stood there before the LED: lamp and ballast power in W, and whether it burned all night or half of it.

    `off_local` and `on_local` are the local times between which a half-night lamp was dark; empty for all-night.
    """

    technology: str
    lamp_w: float
    ballast_w: float
    regime: str = ALL_NIGHT
    off_local: str = ""
    on_local: str = ""


@dataclass(frozen=True)
class Endpoint:
    """One addressable device on the wire. `url` is empty until the simulator has bound a port for it."""

    id: str
    profile: str
    owner: str
    cabinet: str = ""
    building: str = ""
    url: str = ""


@dataclass(frozen=True)
class Cabinet:
    """A lighting supply point. `hand_switch` is hand, off or auto; timeouts are in seconds of domain time, 0 for none.

    `communication_loss_s`: gear takes its system-failure level when its gateway was not polled for so long.
    `heartbeat_timeout_s`: the controller closes its contactors from sunset to sunrise when the heartbeat register was
    not written for so long. `foreign_load_w`: constant load of somebody else on the cabinet's meter, in W.
    """

    id: str
    name: str
    address: str
    latitude: float
    longitude: float
    controller: str
    gateway: str
    meter: str = ""
    hand_switch: str = "auto"
    communication_loss_s: int = 0
    heartbeat_timeout_s: int = 0
    foreign_load_w: float = 0.0


@dataclass(frozen=True)
class Feeder:
    """An outgoing circuit of a cabinet: switched by a contactor on `channel`, or permanent (channel -1)."""

    id: str
    cabinet: str
    name: str
    supply: str
    channel: int = -1


@dataclass(frozen=True)
class Luminaire:
    """One luminaire. Levels are in per mille of rated light output; phase is 1, 2 or 3.

    `floor_permille` is the lowest level its lowest allowed class permits; `gear` is the DALI short address on `line`,
    `groups` are the DALI groups of that line it belongs to. A power-on or system-failure level of -1 keeps the last.
    """

    id: str
    cabinet: str
    feeder: str
    gateway: str
    gear: int
    model: str
    latitude: float
    longitude: float
    address: str
    street: str
    lighting_class: str
    lowest_class: str
    floor_permille: int
    previous: PreviousOperation
    crossing: bool = False
    line: int = 0
    phase: int = 1
    mounting_height_m: float = 6.0
    power_on_permille: int = 1000
    system_failure_permille: int = 1000
    fade_code: int = 4
    groups: tuple[int, ...] = ()
    energy_wh: int = 0
    burning_s: int = 0


@dataclass(frozen=True)
class Meter:
    """An electricity meter of a cabinet or a building. `start_wh` is its counter when the simulated time begins."""

    id: str
    endpoint: str
    product: str
    serial: str
    cabinet: str = ""
    building: str = ""
    start_wh: int = 0


@dataclass(frozen=True)
class Building:
    """A municipal building with one main meter; `shape` names its synthetic hourly profile (see consumption.py)."""

    id: str
    name: str
    address: str
    latitude: float
    longitude: float
    shape: str
    annual_kwh: int
    floor_area_m2: int


@dataclass(frozen=True)
class LightSensor:
    """An outdoor illuminance sensor in lx."""

    id: str
    endpoint: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Town:
    """A whole town. Lists are ordered; luminaires of one gateway need not be adjacent."""

    name: str
    description: str
    time_zone: str
    latitude: float
    longitude: float
    models: tuple[Model, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    cabinets: tuple[Cabinet, ...] = ()
    feeders: tuple[Feeder, ...] = ()
    luminaires: tuple[Luminaire, ...] = ()
    meters: tuple[Meter, ...] = ()
    buildings: tuple[Building, ...] = ()
    light_sensors: tuple[LightSensor, ...] = ()
    synthetic: bool = True
    seed: int = 0
    schema: str = field(default=SCHEMA)

    def with_urls(self, urls: Mapping[str, str]) -> Town:
        """The same town with the endpoint URLs filled in, keyed by endpoint id."""
        endpoints = tuple(dataclasses.replace(e, url=urls.get(e.id, e.url)) for e in self.endpoints)
        return dataclasses.replace(self, endpoints=endpoints)


def town_to_json(town: Town) -> dict[str, Any]:
    """The town as JSON-ready values."""
    return dataclasses.asdict(town)


def town_from_json(document: object) -> Town:
    """The town of a JSON document. Raises InvalidInput with every wrong field and every dangling reference."""
    violations: list[Violation] = []
    town = _build(Town, document, "town", violations)
    if violations or town is None:
        raise InvalidInput("the town file does not fit the schema", violations)
    violations.extend(_broken_references(town))
    if violations:
        raise InvalidInput("the town file contradicts itself", violations)
    return town


def load_town(path: Path) -> Town:
    """Read a town file. Raises InvalidInput naming the file where it cannot be read or is not JSON."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput.of(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInput.of(str(path), f"is not JSON: {error}") from error
    return town_from_json(document)


Record = TypeVar("Record")


def _build(kind: type[Record], value: object, where: str, violations: list[Violation]) -> Record | None:
    """One record from a JSON object; unknown, missing and mistyped fields are collected, not raised one by one."""
    if not isinstance(value, Mapping):
        violations.append(Violation(where, "must be an object"))
        return None
    hints = get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    before = len(violations)
    violations.extend(Violation(f"{where}.{name}", "is unknown") for name in value if name not in known)
    arguments: dict[str, Any] = {}
    for name, spec in known.items():
        if name in value:
            arguments[name] = _convert(hints[name], value[name], f"{where}.{name}", violations)
        elif spec.default is dataclasses.MISSING:
            violations.append(Violation(f"{where}.{name}", "is missing"))
    return kind(**arguments) if len(violations) == before else None


def _convert(hint: Any, value: Any, where: str, violations: list[Violation]) -> Any:
    origin = get_origin(hint)
    if origin is tuple:
        return _convert_tuple(hint, value, where, violations)
    if origin is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        hint = next(a for a in get_args(hint) if a is not NoneType)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where, violations)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        violations.append(Violation(where, f"must be of type {hint.__name__}"))
    return value


def _convert_tuple(hint: Any, value: Any, where: str, violations: list[Violation]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        violations.append(Violation(where, "must be a list"))
        return ()
    inner = get_args(hint)
    if inner[-1] is Ellipsis:
        return tuple(_convert(inner[0], item, f"{where}[{i}]", violations) for i, item in enumerate(value))
    if len(value) != len(inner):
        violations.append(Violation(where, f"must have {len(inner)} items"))
        return ()
    return tuple(_convert(h, v, f"{where}[{i}]", violations) for i, (h, v) in enumerate(zip(inner, value, strict=True)))


def _broken_references(town: Town) -> Iterable[Violation]:
    """Duplicate ids, references to nothing, and two gears at one address."""
    if town.schema != SCHEMA:
        yield Violation("schema", f"is {town.schema!r}, not {SCHEMA!r}")
    ids: dict[str, set[str]] = {}
    collections = ("models", "endpoints", "cabinets", "feeders", "luminaires", "meters", "buildings", "light_sensors")
    for name in collections:
        seen: set[str] = set()
        for record in getattr(town, name):
            if record.id in seen:
                yield Violation(f"{name}/{record.id}", "is there twice")
            seen.add(record.id)
        ids[name] = seen

    def check(where: str, target: str, value: str, optional: bool = False) -> Iterable[Violation]:
        if value not in ids[target] and not (optional and value == ""):
            yield Violation(where, f"refers to {value!r}, which is not among {target}")

    profiles = {e.id: e.profile for e in town.endpoints}

    def check_profile(where: str, endpoint: str, allowed: tuple[str, ...]) -> Iterable[Violation]:
        if profiles.get(endpoint, allowed[0]) not in allowed:
            yield Violation(where, f"needs an endpoint with profile {' or '.join(allowed)}")

    for c in town.cabinets:
        yield from check(f"cabinets/{c.id}.controller", "endpoints", c.controller)
        yield from check_profile(f"cabinets/{c.id}.controller", c.controller, (PROFILE_CABINET,))
        yield from check(f"cabinets/{c.id}.gateway", "endpoints", c.gateway)
        yield from check_profile(f"cabinets/{c.id}.gateway", c.gateway, GATEWAY_PROFILES)
        yield from check(f"cabinets/{c.id}.meter", "meters", c.meter, optional=True)
        if c.hand_switch not in ("hand", "off", "auto"):
            yield Violation(f"cabinets/{c.id}.hand_switch", "must be hand, off or auto")
    for f in town.feeders:
        yield from check(f"feeders/{f.id}.cabinet", "cabinets", f.cabinet)
        if f.supply == SWITCHED and not 0 <= f.channel <= 7:
            yield Violation(f"feeders/{f.id}.channel", "must be 0 to 7 on a switched feeder")
        if f.supply not in (SWITCHED, PERMANENT):
            yield Violation(f"feeders/{f.id}.supply", "must be switched or permanent")
    gateways = {c.gateway for c in town.cabinets}
    addresses: set[tuple[str, int, int]] = set()
    for lamp in town.luminaires:
        where = f"luminaires/{lamp.id}"
        yield from check(f"{where}.cabinet", "cabinets", lamp.cabinet)
        yield from check(f"{where}.feeder", "feeders", lamp.feeder)
        if lamp.gateway not in gateways:
            yield Violation(f"{where}.gateway", f"refers to {lamp.gateway!r}, which is no cabinet's gateway")
        yield from check(f"{where}.model", "models", lamp.model)
        if (lamp.gateway, lamp.line, lamp.gear) in addresses:
            yield Violation(f"{where}.gear", f"address {lamp.line}/{lamp.gear} of {lamp.gateway} is taken")
        addresses.add((lamp.gateway, lamp.line, lamp.gear))
        if not (0 <= lamp.gear <= 63 and 0 <= lamp.line <= 3):
            yield Violation(f"{where}.gear", "must be 0 to 63, on line 0 to 3")
        if lamp.phase not in (1, 2, 3):
            yield Violation(f"{where}.phase", "must be 1, 2 or 3")
        if any(not 0 <= group <= 15 for group in lamp.groups):
            yield Violation(f"{where}.groups", "must be 0 to 15")
    for m in town.meters:
        yield from check(f"meters/{m.id}.endpoint", "endpoints", m.endpoint)
        yield from check_profile(f"meters/{m.id}.endpoint", m.endpoint, METER_PROFILES)
        yield from check(f"meters/{m.id}.cabinet", "cabinets", m.cabinet, optional=True)
        yield from check(f"meters/{m.id}.building", "buildings", m.building, optional=True)
        if (m.cabinet == "") == (m.building == ""):
            yield Violation(f"meters/{m.id}", "measures either a cabinet or a building")
    for s in town.light_sensors:
        yield from check(f"light_sensors/{s.id}.endpoint", "endpoints", s.endpoint)
        yield from check_profile(f"light_sensors/{s.id}.endpoint", s.endpoint, (PROFILE_SENSOR,))
