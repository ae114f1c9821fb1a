"""What a simulated town consists of, as plain records, and their JSON form.

The same JSON is answered by `GET /town` and read by `--town FILE`. Nothing here moves: states, levels and counters live
in the physics modules. Ids are short names within the town (`L-0001`), without a municipality in front of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from domain.errors import InvalidInput, Violation

SCHEMA = "lichtbuch-simulated-town/1"

# Names of the device profiles that a client would use for the endpoint; the simulator only passes them on.
PROFILE_CABINET = "cabinet-plc"
PROFILE_CABINET_WITH_SCHEDULE = "cabinet-wago"
CABINET_PROFILES = (PROFILE_CABINET, PROFILE_CABINET_WITH_SCHEDULE)
PROFILE_SENSOR = "light-sensor"
PROFILES_OF_ROAD_SENSORS = {"traffic": "traffic-sensor", "rain": "rain-sensor"}
GATEWAY_PROFILES = ("intesis-dali", "arlight-dali", "opcua-lamp", "generic-level-status")
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

    A half-night lamp was dark from `off_local` to `on_local` (local times, "22:30"); an empty `on_local` means until
    the next dusk. Both are empty for all-night.
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
class RoadSensor:
    """A sensor along the road: kind "traffic" in vehicles per hour, or "rain" in mm/h; invented by the town's seed."""

    id: str
    endpoint: str
    kind: str
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
    road_sensors: tuple[RoadSensor, ...] = ()
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
    """The town of a JSON document. Raises InvalidInput with every wrong field; town_check.py judges what it says."""
    violations: list[Violation] = []
    town = _build(Town, document, "town", violations)
    if violations or town is None:
        raise InvalidInput("the town file does not fit the schema", violations)
    return town


def read_town(path: Path) -> Town:
    """Read a town file. Raises InvalidInput naming the file where it cannot be read or is not JSON."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput.of(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInput.of(str(path), f"is not JSON: {error}") from error
    return town_from_json(document)


Record = TypeVar("Record")


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Types of a record's fields: worked out once, as a town has tens of thousands of them."""
    return get_type_hints(kind)


def _build(kind: type[Record], value: object, where: str, violations: list[Violation]) -> Record | None:
    """One record from a JSON object; unknown, missing and mistyped fields are collected, not raised one by one."""
    if not isinstance(value, Mapping):
        violations.append(Violation(where, "must be an object"))
        return None
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
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
