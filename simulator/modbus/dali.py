"""What both makes of DALI gateway do alike: commands to lamps, the status byte, and stored levels of the gear.

The gateways' own register maps are in intesis.py and arlight.py. Gear without supply neither hears nor answers, and
DALI acknowledges no command, so a gateway takes a write for dead gear as readily as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from simulator.field import Field
from simulator.lamps import KEEP_LAST
from simulator.modbus.unit import Origin, Unit
from simulator.world import GEARS_PER_LINE, GatewayState, Indices

# Status byte of IEC 62386-102. Bit 0 is also what a gateway reports for gear that does not answer it.
GEAR_FAILURE, LAMP_FAILURE, LAMP_ON, FADING, POWER_CYCLED = 0x01, 0x02, 0x04, 0x10, 0x80


class Command(Enum):
    """What can be asked of gear, named as in the log of writes."""

    LEVEL = "level"
    POWER_ON_LEVEL = "power_on_level"
    SYSTEM_FAILURE_LEVEL = "communication_loss_level"
    FADE = "fade"
    CURVE = "dimming_curve"


class DaliGateway(Unit):
    """Base of the gateways: unit 2 behind a cabinet's port."""

    def __init__(self, field: Field, gateway: GatewayState) -> None:
        self.field = field
        self.world = field.world
        self.lamps = field.world.lamps
        self.gateway = gateway
        self._image = b""
        self._image_of: tuple[int, float | None] | None = None

    def order(
        self, command: Command, targets: Indices, value: float, origin: Origin, register: str, raw: Iterable[float]
    ) -> None:
        """Carry out a command on some lamps and note who gave it. `value` is a level in per mille, or a fade code."""
        if command is Command.LEVEL:
            heard = int(self.world.command_level(targets, value).size)
        else:
            values = {
                Command.POWER_ON_LEVEL: self.lamps.power_on_level,
                Command.SYSTEM_FAILURE_LEVEL: self.lamps.system_failure_level,
                Command.FADE: self.lamps.fade_code,
                Command.CURVE: self.lamps.curve_code,
            }[command]
            heard = int(self.world.store(values, targets, value).size)
        self.field.log_lamps(
            peer=origin.peer, cabinet=self.gateway.cabinet, endpoint=self.gateway.id, register=register,
            kind=command.value, values=raw, lamps=targets, heard=heard,
        )  # fmt: skip

    def order_levels(self, orders: Sequence[tuple[str, Indices, float, float]], origin: Origin) -> None:
        """Carry out levels that came in one request, neighbours of one level together. An order: the register, its
        lamps, the level in per mille, and what stood in the register."""
        for level, together in groupby(orders, key=lambda order: order[2]):
            same = list(together)
            heard = set(self.world.command_level(np.concatenate([lamps for _, lamps, _, _ in same]), level).tolist())
            for register, lamps, _, raw in same:
                self.field.log_lamps(
                    peer=origin.peer, cabinet=self.gateway.cabinet, endpoint=self.gateway.id, register=register,
                    kind=Command.LEVEL.value, values=(raw,), lamps=lamps,
                    heard=sum(lamp in heard for lamp in lamps.tolist()),
                )  # fmt: skip

    def image(self) -> bytes:
        """The registers of all gear as they are now; worked out anew after a change, and while a lamp fades."""
        revision, now = self.world.revision_of(self.gateway), self.world.now
        if self._image_of not in ((revision, None), (revision, now)):
            self._image = self.imaged()
            fading = bool(self.lamps.fading(now, self.gateway.lamps).any())
            self._image_of = revision, now if fading else None
        return self._image

    def imaged(self) -> bytes:
        """Two bytes per register of all gear, in the order of the product's map."""
        return b""

    def gear(self, address: int) -> Indices:
        """The lamp at a short address (line * 64 + gear), or none; after it those that came in with the same one."""
        found = self.lamps_at(address, address + 1)
        twins = self.gateway.twins.get(address)
        return found if twins is None else np.append(found, np.array(sorted(twins), dtype=np.intp))

    def line(self, line: int) -> Indices:
        """All lamps of a line, with an address of their own or not: who hears a broadcast."""
        found = self.lamps_at(line * GEARS_PER_LINE, (line + 1) * GEARS_PER_LINE)
        strays = self.gateway.strays(line)
        return np.append(found, np.array(strays, dtype=np.intp)) if strays else found

    def lamps_at(self, first: int, end: int) -> Indices:
        """Lamps at a range of addresses, without the unused ones."""
        found = self.gateway.addresses[first:end]
        return found[found >= 0]

    def group(self, line: int, group: int) -> Indices:
        """Lamps of a DALI group."""
        return self.gateway.groups.get(line * 16 + group, np.empty(0, dtype=np.intp))

    def status(self, index: Indices) -> NDArray[np.int64]:
        """Status bytes; gear that does not answer shows as failed, and nothing else."""
        now, lamps = self.world.now, self.lamps
        responds = lamps.responds(index)
        on = lamps.light_level(now, index) > 0
        bits = (
            LAMP_FAILURE * lamps.lamp_failed[index].astype(np.int64)
            + LAMP_ON * on.astype(np.int64)
            + FADING * lamps.fading(now, index).astype(np.int64)
            + POWER_CYCLED * lamps.power_cycled[index].astype(np.int64)
        )
        return np.where(responds, bits, GEAR_FAILURE)


def percent(level_permille: NDArray[np.float64]) -> NDArray[np.int64]:
    """Levels in whole percent; 255 (DALI MASK) for "keep the last one"; never 0 for a level above 0."""
    lit = np.where(level_permille <= 0, 0, np.maximum(1, np.rint(level_permille / 10.0)))
    return np.where(level_permille == KEEP_LAST, 255, lit).astype(np.int64)
