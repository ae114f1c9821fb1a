"""A DALI gateway with the register map of the Arlight DALI-LOGIC-LITE-PS (one line, DALI arc power levels 0..254).

Holding registers, 0-based: status of gear a at a; level at 256+a (asked of the gear on reading), as last known at
2560+a; group g written at 384+g, as last written at 2688+g. 255 stands for "not known". No stored levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.level import DALI_ARC_MAX, FULL_PERMILLE, dali_arc_to_permille, permille_to_dali_arc
from simulator.modbus.dali import GEAR_FAILURE, DaliGateway
from simulator.modbus.unit import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    TARGET_FAILED_TO_RESPOND,
    ModbusRefusal,
    Origin,
    registers,
)
from simulator.world import GEARS_PER_LINE

LEVEL, GROUP_LEVEL, LAST_LEVEL, LAST_GROUP_LEVEL = 256, 384, 2560, 2688
GROUPS = 16
NOT_KNOWN = 255


class ArlightGateway(DaliGateway):
    """Levels are quantised to the 254 steps of the logarithmic DALI curve."""

    model = "Arlight DALI-LOGIC-LITE-PS"

    def read_holding(self, address: int, count: int) -> bytes:
        """One table at a time; a level asked of gear that does not answer fails the whole request."""
        self.world.polled(self.gateway)
        for first, size, read in (
            (0, GEARS_PER_LINE, self._status),
            (LEVEL, GEARS_PER_LINE, self._asked),
            (GROUP_LEVEL, GROUPS, self._groups),
            (LAST_LEVEL, GEARS_PER_LINE, self._known),
            (LAST_GROUP_LEVEL, GROUPS, self._groups),
        ):
            if first <= address and address + count <= first + size:
                return read(address - first, count)
        raise ModbusRefusal(ILLEGAL_ADDRESS)

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Levels of gear or groups."""
        self.world.polled(self.gateway)
        count = len(values)
        if any(value > DALI_ARC_MAX for value in values):
            raise ModbusRefusal(ILLEGAL_VALUE)
        if address >= LEVEL and address + count <= LEVEL + GEARS_PER_LINE:
            targets = [self.gear(place) for place in range(address - LEVEL, address - LEVEL + count)]
        elif address >= GROUP_LEVEL and address + count <= GROUP_LEVEL + GROUPS:
            targets = [self.group(0, group) for group in range(address - GROUP_LEVEL, address - GROUP_LEVEL + count)]
            self.gateway.written.update(enumerate(values, start=address - GROUP_LEVEL))
        else:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        self.order_levels([
            (f"holding {register}", lamps, float(dali_arc_to_permille(arc)), float(arc))
            for register, (lamps, arc) in enumerate(zip(targets, values, strict=True), start=address)
        ], origin)  # fmt: skip

    def imaged(self) -> bytes:
        """Status, then the level as last known, of each address."""
        places = self.gateway.addresses[:GEARS_PER_LINE]
        image = np.empty((2, GEARS_PER_LINE), dtype=">u2")
        image[0], image[1] = GEAR_FAILURE, NOT_KNOWN
        used = np.flatnonzero(places >= 0)
        image[0, used] = self.status(places[used])
        answering = used[self.lamps.responds(places[used])]
        image[1, answering] = _ARCS[np.rint(self.lamps.light_level(self.world.now, places[answering])).astype(np.intp)]
        return image.tobytes()

    def _status(self, first: int, count: int) -> bytes:
        return self.image()[2 * first : 2 * (first + count)]

    def _known(self, first: int, count: int) -> bytes:
        return self._status(GEARS_PER_LINE + first, count)

    def _asked(self, first: int, count: int) -> bytes:
        levels = self._known(first, count)
        if NOT_KNOWN in np.frombuffer(levels, dtype=">u2"):
            raise ModbusRefusal(TARGET_FAILED_TO_RESPOND)
        return levels

    def _groups(self, first: int, count: int) -> bytes:
        return registers([self.gateway.written.get(group, NOT_KNOWN) for group in range(first, first + count)])


_ARCS: Final = np.array([permille_to_dali_arc(level) for level in range(FULL_PERMILLE + 1)], dtype=np.uint16)
