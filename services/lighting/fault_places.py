"""What one look says of cabinets, gateways and feeders, and which of them stand before what hangs on them. Pure.

A dead cabinet is one fault: its gateways and lamps say nothing while it is. A feeder that is off by day, or locked out,
is none. Not here: luminaires (fault_lamps.py), how long it has to be so (fault_debounce.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.lighting.columns import Flags, Ints
from services.lighting.fault_debounce import Verdicts
from services.lighting.fault_kinds import Verdict


@dataclass(frozen=True, eq=False)
class Standing:
    """Faults that stand already, so that what hangs on them waits until they are cleared."""

    cabinet_silent: Flags
    cabinet_supply: Flags
    gateway_silent: Flags
    feeder_supply: Flags


@dataclass(frozen=True, eq=False)
class PlaceLook:
    """What is known of places at one moment.

    watched: whether anybody may ask the device. silences: readings in a row without an answer; `lost_from` of them are
    too many. supply, door, relay: verdicts of the controllers. gateway_has_supply: some lamp of it may have some, or it
    has one of its own.
    """

    cabinet_watched: Flags
    cabinet_silences: NDArray[np.uint8]
    supply: Verdicts
    door: Verdicts
    relay: Verdicts
    feeder_cabinet: Ints
    feeder_locked: Flags
    gateway_cabinet: Ints
    gateway_watched: Flags
    gateway_has_supply: Flags
    gateway_silences: NDArray[np.uint8]
    lost_from: int
    standing: Standing


@dataclass(frozen=True, eq=False)
class PlaceVerdicts:
    """Verdicts, and what stands before others: these are not to be blamed while it is at fault."""

    cabinet_silent: Verdicts
    cabinet_supply: Verdicts
    door: Verdicts
    gateway_silent: Verdicts
    relay: Verdicts
    cabinet_covers: Flags
    """Its gateways and contactors are not to be blamed."""
    gateway_covers: Flags
    """Its luminaires are not to be blamed."""


def place_verdicts(look: PlaceLook) -> PlaceVerdicts:
    """Verdicts of cabinets and gateways, and of the contactors of feeders."""
    cabinet_silent = _silence(look.cabinet_watched, look.cabinet_silences, look.lost_from)
    supply = np.where(look.cabinet_watched, look.supply, Verdict.UNKNOWN).astype(np.int8)
    # From the first sign on what hangs on a cabinet waits: a minute later it may turn out to be the cabinet's fault.
    unsupplied = (supply == Verdict.BAD) | look.standing.cabinet_supply
    cabinet_covers = unsupplied | (look.cabinet_watched & (look.cabinet_silences > 0)) | look.standing.cabinet_silent
    behind = of_cabinet(cabinet_covers, look.gateway_cabinet)
    gateway_silent = _silence(look.gateway_watched, look.gateway_silences, look.lost_from)
    # What a silent controller hides says nothing; a gateway beside it that answers is good.
    gateway_silent[behind & (gateway_silent == Verdict.BAD)] = Verdict.UNKNOWN
    gateway_silent[~look.gateway_has_supply] = Verdict.UNKNOWN
    mute = (look.gateway_silences > 0) | look.standing.gateway_silent
    gateway_covers = mute | of_cabinet(unsupplied, look.gateway_cabinet)
    relay = look.relay.copy()
    relay[of_cabinet(cabinet_covers, look.feeder_cabinet) | look.feeder_locked] = Verdict.UNKNOWN
    return PlaceVerdicts(cabinet_silent, supply, look.door, gateway_silent, relay, cabinet_covers, gateway_covers)


def of_cabinet(flags: Flags, cabinet: Ints) -> Flags:
    """The flag of each one's cabinet; False where it has none (-1)."""
    found: Flags = np.append(flags, False)[cabinet]
    return found


def feeder_supply_verdicts(
    *, powered: Flags, blocked: Flags, feeder: Ints, watched: Flags, out: Flags, answers: Flags, least: int
) -> Verdicts:
    """Whether feeders have lost the supply behind their contactor: all gear that answered before does not.

    Per feeder: powered by what its contactor says; blocked: locked out, or its cabinet is at fault. Per luminaire:
    feeder; watched: by a gateway that answers, and not known to be broken by itself; out: silent, or its gateway says
    that the gear does not answer; answers: read with an answer. least: luminaires that must be out.
    """
    count = powered.size
    mine = watched & (feeder >= 0)
    total = np.bincount(feeder[mine], minlength=count)
    dark = np.bincount(feeder[mine & out], minlength=count)
    alive = np.bincount(feeder[(feeder >= 0) & answers], minlength=count)
    verdict = np.full(count, Verdict.UNKNOWN, dtype=np.int8)
    verdict[powered & (alive > 0)] = Verdict.GOOD
    verdict[powered & (alive == 0) & (dark == total) & (total >= least)] = Verdict.BAD
    verdict[blocked] = Verdict.UNKNOWN
    return verdict


def _silence(watched: Flags, silences: NDArray[np.uint8], lost_from: int) -> Verdicts:
    verdict = np.where(silences == 0, Verdict.GOOD, Verdict.UNKNOWN).astype(np.int8)
    verdict[silences >= lost_from] = Verdict.BAD
    verdict[~watched] = Verdict.UNKNOWN
    return verdict
