"""Faults on demand: what can go wrong, with whom, and how it is undone.

A fault stays until it is cleared; a counter reset, a meter exchange and a swap of a driver happen once. Several faults
may hold at once: what a target does follows from all that are active on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from domain.errors import InvalidInput, NotFound, Violation
from simulator.cabinet import POSITIONS, CabinetState
from simulator.clock import instant_text
from simulator.devices import Devices
from simulator.modbus.server import NO_TARGET, REFUSE, SILENT, WRONG_ANSWERS, Disturbance
from simulator.world import GEARS_PER_LINE, World

MAX_DELAY_S = 600.0


@dataclass(frozen=True)
class Fault:
    """One active fault. `target` is what it is on, `details` the rest of what was asked for."""

    id: str
    kind: str
    target: str
    details: Mapping[str, Any]
    since: str

    def to_json(self) -> dict[str, Any]:
        """The fault as JSON-ready values."""
        return {"id": self.id, "kind": self.kind, "target": self.target, "since": self.since, **self.details}


@dataclass(frozen=True)
class _Kind:
    """A kind of fault: which fields name its target, which others it takes, and whether it is over at once."""

    targets: tuple[str, ...]
    details: tuple[str, ...] = ()
    once: bool = False


KINDS: dict[str, _Kind] = {
    "lamp_failure": _Kind(("luminaire",)),
    "gear_failure": _Kind(("luminaire",)),
    "gear_swap": _Kind(("luminaire",), ("serial", "burning_s"), once=True),
    "gear_unaddressed": _Kind(("luminaire",), ("serial", "burning_s")),
    "gear_duplicate": _Kind(("luminaire",), ("of", "serial", "burning_s")),
    "day_burner": _Kind(("luminaire", "feeder")),
    "not_following": _Kind(("luminaire",)),
    "power_off_curve": _Kind(("luminaire",), ("factor",)),
    "cycling": _Kind(("luminaire",), ("period_s",)),
    "contactor_welded": _Kind(("feeder",)),
    "contactor_stuck_open": _Kind(("feeder",)),
    "breaker_tripped": _Kind(("feeder",)),
    "hand_switch": _Kind(("cabinet",), ("position",)),
    "door_open": _Kind(("cabinet",)),
    "supply_loss": _Kind(("cabinet",), ("mode",)),
    "dead_gateway": _Kind(("cabinet", "endpoint"), ("mode",)),
    "slow_gateway": _Kind(("cabinet", "endpoint"), ("delay_s",)),
    "wrong_answer": _Kind(("cabinet", "endpoint"), ("mode", "every", "code")),
    "meter_unavailable": _Kind(("meter",)),
    "counter_reset": _Kind(("meter",), ("to_wh",), once=True),
    "meter_exchange": _Kind(("meter",), ("serial", "start_wh"), once=True),
    "sensor_failure": _Kind(("sensor",)),
}
_NETWORK = ("dead_gateway", "slow_gateway", "wrong_answer")
_STRAY = ("gear_unaddressed", "gear_duplicate")
"""A driver that was swapped, and stays without an address of its own until the fault is cleared."""
_NEEDED = ("delay_s", "factor", "period_s")
BUFFERED = "buffered"
"""A controller with a battery goes on and says that the supply is lost."""


class FaultDesk:
    """Takes faults in, keeps the active ones, and undoes them."""

    def __init__(self, world: World, devices: Devices) -> None:
        self._world = world
        self._devices = devices
        self._active: dict[str, Fault] = {}
        self._numbers = itertools.count(1)
        self._serials = itertools.count(1)
        self._effects: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "luminaire": self._luminaire,
            "feeder": self._feeder,
            "cabinet": self._cabinet,
            "meter": self._meter,
            "sensor": self._sensor,
            "endpoint": self._endpoint,
        }

    def active(self) -> list[Fault]:
        """Faults that hold now, oldest first."""
        return list(self._active.values())

    async def inject(self, document: object) -> Fault:
        """Begin a fault described by a JSON object. InvalidInput or NotFound where it makes no sense."""
        kind, target_field, target, details = _parse(document)
        self._check_target(target_field, target)
        fault = Fault(
            f"F{next(self._numbers)}", kind, f"{target_field}s/{target}", details, instant_text(self._world.now)
        )
        if KINDS[kind].once:
            self._happen(kind, target, details)
        else:
            self._active[fault.id] = fault
            try:
                await self._effects[target_field](fault)
            except InvalidInput:
                del self._active[fault.id]
                raise
        return fault

    async def clear(self, fault_id: str = "") -> int:
        """End one fault, or all. Returns how many ended."""
        if fault_id and fault_id not in self._active:
            raise NotFound(f"faults/{fault_id}")
        ended = [self._active[fault_id]] if fault_id else list(self._active.values())
        for fault in ended:
            del self._active[fault.id]
        for fault in ended:
            await self._effects[fault.target.split("s/", 1)[0]](fault)
        return len(ended)

    def _check_target(self, field: str, target: str) -> None:
        town = self._world.town
        known: dict[str, Container[str]] = {
            "luminaire": self._world.lamp_index,
            "cabinet": self._world.cabinets,
            "meter": self._world.meters,
            "sensor": self._devices.sensors,
            "feeder": {f.id for f in town.feeders},
            "endpoint": {e.id for e in town.endpoints},
        }
        if target not in known[field]:
            raise NotFound(f"{field}s/{target}")

    def _on(self, target: str, *kinds: str) -> list[Fault]:
        """Active faults of some kinds on a target."""
        return [f for f in self._active.values() if f.target == target and f.kind in kinds]

    # --- effects: each looks at all active faults of the target, so that it serves beginning and end alike --------

    async def _luminaire(self, fault: Fault) -> None:
        lamps, luminaire = self._world.lamps, fault.target.partition("/")[2]
        holding = self._on(fault.target, fault.kind)
        if fault.kind in _STRAY:
            self._stray(luminaire, fault)
            return
        if fault.kind == "power_off_curve":
            factor = float(holding[-1].details["factor"]) if holding else 1.0
            self._world.change_lamp(
                lambda t, index, _on: lamps.set_power_factor(t, index, factor), luminaire, bool(holding)
            )
            return
        if fault.kind == "cycling":
            if fault in holding:
                period_s = float(fault.details["period_s"])
                self._world.cycle(luminaire, period_s, lambda: fault.id in self._active)
            return
        change = {
            "lamp_failure": lamps.set_lamp_failure,
            "gear_failure": lamps.set_gear_failure,
            "day_burner": lamps.set_stuck_on,
            "not_following": lamps.set_deaf,
        }[fault.kind]
        self._world.change_lamp(change, luminaire, bool(holding))

    def _stray(self, luminaire: str, fault: Fault) -> None:
        """A new driver that has no address, or another's; its own one again when the fault is cleared."""
        town, rows = self._world.town, self._world.lamp_index
        record = town.luminaires[rows[luminaire]]
        own = record.line * GEARS_PER_LINE + record.gear
        if next(e.profile for e in town.endpoints if e.id == record.gateway) == "opcua-lamp":
            raise InvalidInput.of("luminaire", f"{luminaire} has no address on a line")
        if fault.id in self._active:
            other = None
            if fault.kind == "gear_duplicate":
                row = rows.get(str(fault.details.get("of", "")))
                other = town.luminaires[row] if row is not None else None
                same_line = other is not None and (other.gateway, other.line) == (record.gateway, record.line)
                if other is None or other is record or not same_line:
                    raise InvalidInput.of("of", "must be another luminaire of the same line")
            self._swap(luminaire, fault.details)
            address = None if other is None else other.line * GEARS_PER_LINE + other.gear
            self._world.readdress(luminaire, address, twin=other is not None)
        elif not self._on(fault.target, *_STRAY):
            self._world.readdress(luminaire, own)

    def _swap(self, luminaire: str, details: Mapping[str, Any]) -> None:
        serial = str(details.get("serial") or f"LB-NEW-{next(self._serials):09d}")
        self._world.swap_gear(luminaire, serial, float(details.get("burning_s", 0.0)))

    async def _feeder(self, fault: Fault) -> None:
        feeder = next(f for f in self._world.town.feeders if f.id == fault.target.partition("/")[2])
        if feeder.channel < 0:
            raise InvalidInput.of("feeder", f"{feeder.id} is permanent and has neither contactor nor breaker")
        state = self._world.cabinets[feeder.cabinet]
        for channels, kinds in (
            (state.welded, ("contactor_welded", "day_burner")),
            (state.stuck_open, ("contactor_stuck_open",)),
            (state.tripped, ("breaker_tripped",)),
        ):
            if self._on(fault.target, *kinds):
                channels.add(feeder.channel)
            else:
                channels.discard(feeder.channel)
        self._world.settle(feeder.cabinet)

    async def _cabinet(self, fault: Fault) -> None:
        state = self._world.cabinets[fault.target.partition("/")[2]]
        if fault.kind in _NETWORK:
            for endpoint in self._endpoints_of(state):
                await self._disturb(endpoint)
            return
        turned = self._on(fault.target, "hand_switch")
        state.hand_switch = POSITIONS[turned[-1].details["position"] if turned else state.cabinet.hand_switch]
        state.door_open = bool(self._on(fault.target, "door_open"))
        state.supply = not self._on(fault.target, "supply_loss")
        self._world.settle(state.cabinet.id)
        for endpoint in self._endpoints_of(state):
            await self._disturb(endpoint)

    async def _endpoint(self, fault: Fault) -> None:
        await self._disturb(fault.target.partition("/")[2])

    async def _meter(self, fault: Fault) -> None:
        meter = self._world.meters[fault.target.partition("/")[2]]
        meter.available = not self._on(fault.target, "meter_unavailable")

    async def _sensor(self, fault: Fault) -> None:
        sensor = self._devices.sensors[fault.target.partition("/")[2]]
        sensor.failed = bool(self._on(fault.target, "sensor_failure"))

    def _happen(self, kind: str, target: str, details: Mapping[str, Any]) -> None:
        if kind == "gear_swap":
            self._swap(target, details)
            return
        meter = self._world.meters[target]
        if kind == "counter_reset":
            meter.reset(self._world.now, float(details.get("to_wh", 0.0)))
        else:
            serial = str(details.get("serial") or f"{meter.serial}{meter.life + 1}")
            meter.exchange(self._world.now, serial, float(details.get("start_wh", 0.0)))

    def _endpoints_of(self, state: CabinetState) -> list[str]:
        """What is reached through a cabinet: its controller, its gateway and its meter."""
        town, cabinet = self._world.town, state.cabinet
        meters = [m.endpoint for m in town.meters if m.cabinet == cabinet.id]
        return [cabinet.controller, cabinet.gateway, *meters]

    async def _disturb(self, endpoint: str) -> None:
        """Put together what all active faults do to an endpoint: those on it, and those on its cabinet."""
        cabinet = next((e.cabinet for e in self._world.town.endpoints if e.id == endpoint), "")
        is_meter = any(m.endpoint == endpoint for m in self._world.town.meters)
        is_controller = any(c.controller == endpoint for c in self._world.town.cabinets)
        faults = self._on(f"endpoints/{endpoint}", *_NETWORK)
        if cabinet:
            # A meter has its own line; only a loss of supply takes it along with its cabinet.
            kinds = ("supply_loss",) if is_meter else (*_NETWORK, "supply_loss")
            faults += self._on(f"cabinets/{cabinet}", *kinds)
        disturbance = Disturbance()
        for fault in faults:
            if fault.kind == "dead_gateway":
                disturbance.dead = fault.details.get("mode", SILENT)
            elif fault.kind == "supply_loss":
                if not (is_controller and fault.details.get("mode") == BUFFERED):
                    disturbance.dead = SILENT
            elif fault.kind == "slow_gateway":
                disturbance.delay_s = float(fault.details["delay_s"])
            else:
                disturbance.wrong = fault.details.get("mode", "garbage")
                disturbance.every = int(fault.details.get("every", 1))
                disturbance.exception_code = int(fault.details.get("code", 4))
        await self._devices.disturb(endpoint, disturbance if faults else None)


def _parse(document: object) -> tuple[str, str, str, dict[str, Any]]:
    """Kind, target field, target and details of a fault as asked for; all that is wrong is said at once."""
    if not isinstance(document, Mapping):
        raise InvalidInput.of("fault", "must be a JSON object")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidInput.of("kind", f"must be one of {', '.join(KINDS)}")
    spec = KINDS[kind]
    violations = [
        Violation(str(name), f"is unknown to {kind}")
        for name in document
        if name not in ("kind", *spec.targets, *spec.details)
    ]
    targets = [name for name in spec.targets if name in document]
    if len(targets) != 1 or not isinstance(document[targets[0]], str):
        violations.append(Violation("/".join(spec.targets), f"{kind} needs exactly one of them"))
    details = {name: document[name] for name in spec.details if name in document}
    violations.extend(_wrong_details(kind, details))
    if violations:
        raise InvalidInput("the fault does not fit its kind", violations)
    return kind, targets[0], document[targets[0]], details


def _wrong_details(kind: str, details: Mapping[str, Any]) -> list[Violation]:
    allowed: dict[tuple[str, str], tuple[str, ...]] = {
        ("hand_switch", "position"): tuple(POSITIONS),
        ("dead_gateway", "mode"): (SILENT, REFUSE, NO_TARGET),
        ("supply_loss", "mode"): (SILENT, BUFFERED),
        ("wrong_answer", "mode"): WRONG_ANSWERS,
    }
    ranges = {
        "delay_s": (0.0, MAX_DELAY_S),
        "factor": (0.0, 100.0),
        "period_s": (1.0, 86_400.0),
        "every": (1, 1_000_000),
        "code": (1, 255),
        "burning_s": (0, 1e9),
        "to_wh": (0, 1e12),
        "start_wh": (0, 1e12),
    }
    found = []
    for name in KINDS[kind].details:
        value = details.get(name)
        if (kind, name) in allowed:
            optional = value is None and kind != "hand_switch"
            if not optional and value not in allowed[kind, name]:
                found.append(Violation(name, f"must be one of {', '.join(allowed[kind, name])}"))
        elif name in ranges and (value is not None or name in _NEEDED):
            low, high = ranges[name]
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
                found.append(Violation(name, f"must be a number from {low} to {high}"))
        elif name in ("serial", "of") and value is not None and not isinstance(value, str):
            found.append(Violation(name, "must be a text"))
    return found
