"""How long a block a device takes, where it takes less than its profile says: learnt from what it gives and refuses.

A gateway may hold fewer registers per request than its maker writes. Cutting its blocks one by one would find that out
for every block anew; one number per table says it for all. Which requests to make with it is the planner's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fieldbus.profile import ModbusLimits, Table


@dataclass(slots=True)
class BlockLengths:
    """What is known of one device, per table, in addresses."""

    granted: dict[Table, int] = field(default_factory=lambda: dict.fromkeys(Table, 0))  # the longest block it gave
    refused: dict[Table, int] = field(default_factory=dict)  # the shortest that was refused for its length

    def too_long(self, table: Table, count: int) -> bool:
        """A block was refused though every part of it can be had. False when a longer one was given before: then
        length is not the reason."""
        if count <= self.granted[table]:
            return False
        self.refused[table] = min(count, self.refused.get(table, count))
        return True

    def maximum(self, table: Table, stated: int) -> int:
        """The longest block to ask for: half-way between what was given and what was refused, so that the true limit
        is found in few steps."""
        refused = self.refused.get(table)
        if refused is None:
            return stated
        return min(stated, max(1, (self.granted[table] + refused) // 2))

    def narrow(self, limits: ModbusLimits) -> ModbusLimits:
        """The limits of the product as this device keeps them."""
        if not self.refused:
            return limits
        return replace(
            limits,
            max_read_registers=min(
                self.maximum(table, limits.max_read_registers) for table in Table if not table.is_bits
            ),
            max_read_bits=min(self.maximum(table, limits.max_read_bits) for table in Table if table.is_bits),
        )
