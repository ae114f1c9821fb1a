"""A DALI gateway with the register map of the Arlight DALI-LOGIC-LITE-PS (one line, DALI arc power levels 0..254).

Holding registers, 0-based: status of gear a at a; level at 256+a (asked of the gear on reading), as last known at
2560+a; group g written at 384+g, as last written at 2688+g. 255 stands for "not known". No stored levels.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.level import DALI_ARC_MAX, dali_arc_to_permille, permille_to_dali_arc
from simulator.modbus.dali import GEAR_FAILURE, Command, DaliGateway
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
            (GROUP_LEVEL, GROUPS, self._group),
            (LAST_LEVEL, GEARS_PER_LINE, self._known),
            (LAST_GROUP_LEVEL, GROUPS, self._group),
        ):
            if first <= address and address + count <= first + size:
                return registers([read(place) for place in range(address - first, address - first + count)])
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
        for register, (lamps, arc) in enumerate(zip(targets, values, strict=True), start=address):
            level = float(dali_arc_to_permille(arc))
            self.order(Command.LEVEL, lamps, level, origin, f"holding {register}", (float(arc),))

    def _status(self, gear: int) -> int:
        index = self.gear(gear)
        return self.status(index)[0] if index.size else GEAR_FAILURE

    def _known(self, gear: int) -> int:
        index = self.gear(gear)
        if not index.size or not self.lamps.responds(index)[0]:
            return NOT_KNOWN
        return permille_to_dali_arc(round(float(self.lamps.light_level(self.world.now, index)[0])))

    def _asked(self, gear: int) -> int:
        level = self._known(gear)
        if level == NOT_KNOWN:
            raise ModbusRefusal(TARGET_FAILED_TO_RESPOND)
        return level

    def _group(self, group: int) -> int:
        return self.gateway.written.get(group, NOT_KNOWN)
