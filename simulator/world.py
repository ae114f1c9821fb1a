"""The town in motion: lamps, cabinets, gateways and meters put together, and time moved through all that happens.

Everything that changes a state goes through here at an instant, so that quarter-hour logs and level history stay exact.
Protocols are in modbus/ and opcua/, faults on demand in faults.py; real time is not known here.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from simulator.cabinet import POSITIONS, CabinetState
from simulator.consumption import ConsumptionCounter, HourlySource, SyntheticSource
from simulator.daylight import is_night
from simulator.history import LAMP_SLOTS_KEPT, METER_SLOTS_KEPT, SLOT_S, LevelHistory, SlotLog
from simulator.lamps import LampBank
from simulator.metering import BuildingLoad, LampLoad, Load, MeterState
from simulator.schedule import StoredSchedule
from simulator.town import PROFILE_CABINET_WITH_SCHEDULE, Cabinet, Meter, Town

Indices = NDArray[np.intp]
GEARS_PER_LINE = 64
GROUPS_PER_LINE = 16
FALLBACK_CYCLE_S = 60.0
_MOST_AUDIENCES = 100_000


@dataclass
class GatewayState:
    """A DALI or OPC UA gateway: which lamp is at which address (line * 64 + gear), and when it was polled last."""

    id: str
    cabinet: str
    addresses: Indices
    lamps: Indices
    groups: dict[int, Indices]
    communication_loss_s: float
    last_poll_s: float
    lost: bool = False
    written: dict[int, int] = field(default_factory=dict)
    unaddressed: dict[int, set[int]] = field(default_factory=dict)
    """Lamps whose driver has no address, by line."""
    twins: dict[int, set[int]] = field(default_factory=dict)
    """Lamps whose driver has an address that is another's, by that address."""

    def strays(self, line: int) -> list[int]:
        """Lamps of a line whose driver has no address of its own."""
        found = set(self.unaddressed.get(line, ()))
        for address, lamps in self.twins.items():
            found |= lamps if address // GEARS_PER_LINE == line else set()
        return sorted(found)


class World:
    """All state of a simulated town. Instants are seconds since 1970 in domain time and never go back."""

    def __init__(self, town: Town, start_s: float, sources: Mapping[str, HourlySource] | None = None) -> None:
        self.town = town
        self.start_s = self.now = start_s
        # Changes with every change of a lamp, so that what was worked out from it can be known to be stale.
        self.revision = 0
        self.lamps = LampBank(town.luminaires, town.models, start_s)
        self.lamp_index = {lamp.id: i for i, lamp in enumerate(town.luminaires)}
        self.history = LevelHistory(len(town.luminaires))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()

        self._profiles = {endpoint.id: endpoint.profile for endpoint in town.endpoints}
        self._feeders_known: dict[bytes, list[str]] = {}
        self._feeders_of = {c.id: [f for f in town.feeders if f.cabinet == c.id] for c in town.cabinets}
        self._feeder_lamps = _group([lamp.feeder for lamp in town.luminaires])
        self._cabinet_lamps = _group([lamp.cabinet for lamp in town.luminaires])
        self._gateway_lamps = _group([lamp.gateway for lamp in town.luminaires])
        self.cabinets = {c.id: self._cabinet_state(c) for c in town.cabinets}
        self.gateways = {c.gateway: self._gateway_state(c) for c in town.cabinets}
        numbers = {gateway: number for number, gateway in enumerate(self.gateways)}
        self._gateway_of = np.array([numbers[lamp.gateway] for lamp in town.luminaires], dtype=np.intp)
        self._gateway_revisions = np.zeros(len(numbers), dtype=np.int64)
        self._gateway_numbers = numbers
        self._set_initial_light()
        self.meters = {m.id: self._meter_state(m, sources or {}) for m in town.meters}
        self.meter_log = SlotLog(METER_SLOTS_KEPT)
        self.lamp_log = SlotLog(LAMP_SLOTS_KEPT)
        self._next_slot = math.ceil(start_s / SLOT_S) * float(SLOT_S)
        self._next_due = self._next_slot
        self._arm_watchdogs()

    # --- time -----------------------------------------------------------------------------------------------------

    def advance(self, t: float) -> None:
        """Move to an instant, through all quarter hours and watchdogs on the way, each at its own time."""
        while self._next_due <= t:
            self.now = max(self.now, self._next_due)
            if self._next_slot <= self._next_due:
                self._log_slot()
            else:
                _, _, event = heapq.heappop(self._events)
                event()
            self._plan_next()
        self.now = max(self.now, t)

    def _plan_next(self) -> None:
        self._next_due = min(self._next_slot, self._events[0][0] if self._events else math.inf)

    def _schedule(self, t: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (t, next(self._sequence), event))
        self._plan_next()

    def _log_slot(self) -> None:
        slot = self._next_slot
        self.meter_log.append(slot, [meter.total_wh(slot) for meter in self.meters.values()])
        self.lamp_log.append(slot, self.lamps.energy_wh(slot))
        self._next_slot = slot + SLOT_S

    # --- commands from the field side -----------------------------------------------------------------------------

    def command_level(self, index: Indices, level_permille: float) -> Indices:
        """Lamps go to a level as they fade. Returns those that heard it."""
        return self._note(self.lamps.command(self.now, index, level_permille))

    def command_contactor(self, cabinet: str, channel: int, on: bool) -> None:
        """The controller's output is set; the contactor follows if switch and contactor let it."""
        self.cabinets[cabinet].commands[channel] = on
        self.settle(cabinet)

    def beat(self, cabinet: str, value: int) -> None:
        """The heartbeat register is written: any fallback ends and the watchdog starts anew."""
        state = self.cabinets[cabinet]
        state.heartbeat, state.heartbeat_s = value, self.now
        if state.fallback_lit is not None:
            state.fallback_lit = None
            self.settle(cabinet)

    def set_heartbeat_timeout(self, cabinet: str, timeout_s: int) -> None:
        """How long without a heartbeat until the controller follows its own clock; 0 ends watch and fallback."""
        state = self.cabinets[cabinet]
        unwatched = state.heartbeat_timeout_s <= 0
        state.heartbeat_timeout_s = timeout_s
        if timeout_s <= 0:
            state.fallback_lit = None
            self.settle(cabinet)
        elif unwatched:
            state.heartbeat_s = self.now
            self._watch_heartbeat(state)

    def polled(self, gateway: GatewayState) -> None:
        """A request reached a gateway: its communication watchdog starts anew."""
        gateway.last_poll_s = self.now
        if gateway.lost:
            gateway.lost = False
            self._watch_gateway(gateway)

    # --- states that faults and people at the cabinet change ------------------------------------------------------

    def settle(self, cabinet: str) -> None:
        """Let contactors and supply of a cabinet take effect on its feeders, after any change of its state."""
        state = self.cabinets[cabinet]
        state.settle()
        for feeder in self._feeders_of[cabinet]:
            index = self._feeder_lamps.get(feeder.id)
            if index is not None:
                self._note(self.lamps.energise(self.now, index, state.feeder_live(feeder)))

    def set_hand_switch(self, cabinet: str, position: str) -> None:
        """Somebody turns the hand/off/auto switch."""
        self.cabinets[cabinet].hand_switch = POSITIONS[position]
        self.settle(cabinet)

    def store(self, values: NDArray[np.float64], index: Indices, value: float) -> Indices:
        """Write one of the lamp bank's stored values (a level or a fade code). Returns the lamps that heard it."""
        heard = index[self.lamps.responds(index)]
        values[heard] = value
        self._touch(heard)
        return heard

    def change_lamp(self, change: Callable[[float, Indices, bool], None], luminaire: str, on: bool) -> None:
        """Apply a fault of the lamp bank (one of its set_ methods) to a luminaire, or take it away."""
        index = np.array([self.lamp_index[luminaire]], dtype=np.intp)
        change(self.now, index, on)
        self._note(index)

    def swap_gear(self, luminaire: str, identity: str, burning_s: float) -> None:
        """Somebody puts another driver into a luminaire."""
        index = np.array([self.lamp_index[luminaire]], dtype=np.intp)
        self.lamps.swap_gear(self.now, index, identity, burning_s)
        self._note(index)

    def readdress(self, luminaire: str, address: int | None, *, twin: bool = False) -> None:
        """The driver of a luminaire gets an address (line * 64 + gear): its own, another's (twin), or none (None)."""
        lamp = self.lamp_index[luminaire]
        record = self.town.luminaires[lamp]
        gateway, own = self.gateways[record.gateway], record.line * GEARS_PER_LINE + record.gear
        for strays in (gateway.unaddressed, gateway.twins):
            for place in list(strays):
                strays[place].discard(lamp)
                if not strays[place]:
                    del strays[place]
        gateway.addresses[own] = lamp if address == own and not twin else -1
        if twin and address is not None:
            gateway.twins.setdefault(address, set()).add(lamp)
        elif address is None:
            gateway.unaddressed.setdefault(record.line, set()).add(lamp)
        for group in record.groups:
            members = gateway.groups.setdefault(record.line * GROUPS_PER_LINE + group, np.empty(0, dtype=np.intp))
            kept = members[members != lamp]
            gateway.groups[record.line * GROUPS_PER_LINE + group] = (
                np.append(kept, lamp).astype(np.intp) if gateway.addresses[own] == lamp else kept
            )
        self._touch(np.array([lamp], dtype=np.intp))

    def cycle(self, luminaire: str, period_s: float, goes_on: Callable[[], bool]) -> None:
        """A lamp goes dark for half of each period, by itself, for as long as `goes_on` says."""
        index = np.array([self.lamp_index[luminaire]], dtype=np.intp)

        def change(dark: bool) -> None:
            if dark and not goes_on():
                return
            self.lamps.drop_out(self.now, index, dark)
            self._note(index)
            self._schedule(self.now + period_s / 2, lambda: change(not dark))

        self._schedule(self.now + period_s / 2, lambda: change(True))

    # --- questions ------------------------------------------------------------------------------------------------

    def revision_of(self, gateway: GatewayState) -> int:
        """Another number after each change of one of a gateway's lamps; a fade is one change, at its beginning."""
        return int(self._gateway_revisions[self._gateway_numbers[gateway.id]])

    def feeders_of(self, index: Indices) -> list[str]:
        """Ids of the feeders that some lamps hang on, sorted."""
        key = index.tobytes()
        found = self._feeders_known.get(key)
        if found is None:
            if len(self._feeders_known) >= _MOST_AUDIENCES:
                self._feeders_known.clear()
            found = self._feeders_known[key] = sorted({self.town.luminaires[i].feeder for i in index})
        return found

    def meter_wh(self, t: float) -> list[float]:
        """Counters of all meters (order of `meters`) at a past quarter hour or now. InvalidInput for other instants."""
        if t == self.now:
            return [meter.total_wh(t) for meter in self.meters.values()]
        row = self.meter_log.at(t)
        if row is None:
            raise InvalidInput.of("at", "is neither now nor a quarter hour that the simulator has been through")
        return [float(value) for value in row]

    def lamp_wh(self, t: float) -> list[float]:
        """Energy counters of all lamps at a recent quarter hour or now. InvalidInput for other instants."""
        if t == self.now:
            return [float(value) for value in self.lamps.energy_wh(t)]
        row = self.lamp_log.at(t)
        if row is None:
            raise InvalidInput.of("at", "is neither now nor a quarter hour of the last three days")
        return [float(value) for value in row]

    # --- setting up -----------------------------------------------------------------------------------------------

    def _cabinet_state(self, cabinet: Cabinet) -> CabinetState:
        channels = {f.channel: f for f in self._feeders_of[cabinet.id] if f.channel >= 0}
        keeps = self._profiles.get(cabinet.controller) == PROFILE_CABINET_WITH_SCHEDULE
        position = POSITIONS[cabinet.hand_switch]
        return CabinetState(
            cabinet,
            channels,
            hand_switch=position,
            heartbeat_s=self.start_s,
            heartbeat_timeout_s=cabinet.heartbeat_timeout_s,
            schedule=StoredSchedule(cabinet.latitude, cabinet.longitude, self.town.time_zone) if keeps else None,
        )

    def _gateway_state(self, cabinet: Cabinet) -> GatewayState:
        own = [(int(i), self.town.luminaires[i]) for i in self._gateway_lamps.get(cabinet.gateway, ())]
        lines = 1 + max((lamp.line for _, lamp in own), default=0)
        addresses = np.full(lines * GEARS_PER_LINE, -1, dtype=np.intp)
        groups: dict[int, list[int]] = {}
        for i, lamp in own:
            addresses[lamp.line * GEARS_PER_LINE + lamp.gear] = i
            for group in lamp.groups:
                groups.setdefault(lamp.line * 16 + group, []).append(i)
        return GatewayState(
            id=cabinet.gateway,
            cabinet=cabinet.id,
            addresses=addresses,
            lamps=addresses[addresses >= 0],
            groups={group: np.array(members, dtype=np.intp) for group, members in groups.items()},
            communication_loss_s=float(cabinet.communication_loss_s),
            last_poll_s=self.start_s,
        )

    def _set_initial_light(self) -> None:
        """As if an astronomical clock had run the town so far: dark by day, full light by night."""
        night = is_night(self.town.latitude, self.town.longitude, self.start_s)
        for cabinet_id, state in self.cabinets.items():
            state.commands = [night and channel in state.channels for channel in range(len(state.commands))]
            self.settle(cabinet_id)
            state.operations = [0] * len(state.operations)
        everything = np.arange(len(self.town.luminaires), dtype=np.intp)
        self.lamps.start_at(self.start_s, everything, 1000.0 if night else 0.0)
        self.lamps.starts[:] = 0
        self._note(everything)

    def _meter_state(self, meter: Meter, sources: Mapping[str, HourlySource]) -> MeterState:
        load: Load
        if meter.cabinet:
            index = self._cabinet_lamps.get(meter.cabinet, np.empty(0, dtype=np.intp))
            phases = np.array([self.town.luminaires[i].phase for i in index], dtype=np.intp)
            foreign_w = self.cabinets[meter.cabinet].cabinet.foreign_load_w
            load = LampLoad(self.lamps, index, phases, foreign_w, self.start_s)
        else:
            building = next(b for b in self.town.buildings if b.id == meter.building)
            source = sources.get(building.id) or SyntheticSource(building, self.town.time_zone)
            load = BuildingLoad(ConsumptionCounter(source, datetime.fromtimestamp(self.start_s, UTC).year))
        return MeterState(meter.id, meter.serial, meter.start_wh, load, self.start_s)

    # --- watchdogs ------------------------------------------------------------------------------------------------

    def _arm_watchdogs(self) -> None:
        for gateway in self.gateways.values():
            self._watch_gateway(gateway)
        for state in self.cabinets.values():
            self._watch_heartbeat(state)

    def _watch_gateway(self, gateway: GatewayState) -> None:
        if gateway.communication_loss_s <= 0:
            return

        def look() -> None:
            if gateway.last_poll_s + gateway.communication_loss_s > self.now:
                self._watch_gateway(gateway)
            else:
                gateway.lost = True
                self._note(self.lamps.communication_lost(self.now, gateway.lamps))

        self._schedule(gateway.last_poll_s + gateway.communication_loss_s, look)

    def _watch_heartbeat(self, state: CabinetState) -> None:
        """One look after the other: at the instant the heartbeat would be overdue, then at every cycle of the PLC."""

        def look() -> None:
            if state.heartbeat_timeout_s <= 0:
                return
            overdue = state.heartbeat_s + state.heartbeat_timeout_s
            if overdue > self.now:
                self._schedule(overdue, look)
                return
            self._fall_back(state)
            self.settle(state.cabinet.id)
            self._schedule(self.now + FALLBACK_CYCLE_S, look)

        if state.heartbeat_timeout_s > 0:
            self._schedule(state.heartbeat_s + state.heartbeat_timeout_s, look)

    def _fall_back(self, state: CabinetState) -> None:
        """The controller follows its own clock: the schedule that it keeps, if it may; else from sunset to sunrise."""
        schedule = state.schedule
        if schedule is None:
            state.fallback_lit = is_night(state.cabinet.latitude, state.cabinet.longitude, self.now)
        elif schedule.enabled:
            state.fallback_lit, state.resting = schedule.is_night(self.now), schedule.resting(self.now)
        else:
            state.fallback_lit = None  # it may not switch by itself, and stays as it was commanded

    def _note(self, index: Indices) -> Indices:
        """Put what some lamps do from now on into the history."""
        if index.size:
            self._touch(index)
            start, target, until = self.lamps.course(self.now, index)
            self.history.record(self.now, index, start, target, until)
        return index

    def _touch(self, index: Indices) -> None:
        """Some lamps are not as they were."""
        self.revision += 1
        self._gateway_revisions[self._gateway_of[index]] = self.revision


def _group(keys: list[str]) -> dict[str, Indices]:
    """Positions of equal keys."""
    places: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    return {key: np.array(found, dtype=np.intp) for key, found in places.items()}
