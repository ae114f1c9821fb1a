"""Numbers of registers as makers print them, 40001 for the first holding register, where an address was meant.

Requests carry addresses that count from 0. A profile that repeats the printed number reads something else, or nothing,
and is told so when it is loaded, with the address that was meant. What an address means is registers.py's.
"""

from __future__ import annotations

from typing import Final

from fieldbus.profile import Table

# The first digit of a printed number names the table; the rest counts from 1. Coils have a 0, which no number shows.
_TABLES: Final = {1: Table.DISCRETE, 3: Table.INPUT, 4: Table.HOLDING}
_FIVE_DIGITS: Final = 10_000
_SIX_DIGITS: Final = 100_000
_LAST: Final = 65_536  # the highest register there is, counted from 1

OVERRIDE: Final = "wire_addresses"


def printed_number(number: int) -> tuple[Table, int] | None:
    """The table and the address that a number in the style of 40001 (or 400001) stands for; None for any other."""
    for thousands in (_FIVE_DIGITS, _SIX_DIGITS):
        table, count = _TABLES.get(number // thousands), number % thousands
        if table is not None and 1 <= count <= _LAST:
            return table, count - 1
    return None


def numbers_printed(table: Table, *addresses: int) -> list[str]:
    """What a manual that counts from 40001 prints for addresses: 40257, 00017; six digits for all if one needs them."""
    digit = next((digit for digit, named in _TABLES.items() if named is table), 0)
    width = 4 if max(addresses) < _FIVE_DIGITS - 1 else 5
    return [f"{digit}{address + 1:0{width}}" for address in addresses]


def what_was_meant(lowest: int, highest: int, table: Table) -> str:
    """Why addresses from `lowest` to `highest` of a table look like printed numbers, and which are the right ones;
    "" when they do not, so that they are what they say.

    From 10001 on only discrete inputs are in doubt: many devices have registers there, and controllers coils.
    """
    first, last = printed_number(lowest), printed_number(highest)
    if first is None or last is None or first[0] is not last[0]:
        return ""
    meant, address = first
    if table is not meant and (table.is_bits or meant.is_bits):
        return ""
    other_table = "" if meant is table else f', table = "{meant.value}"'
    reason = (
        f"{lowest} is the number of a register in a manual, where {lowest - address} is the first of the {meant.value} "
        f"table; addresses count from 0: {'begin with' if highest > lowest else 'write'} {address}{other_table}"
    )
    if highest > 65_535:
        return reason
    return f"{reason} ({OVERRIDE} = true in [modbus] if the device is really asked for {lowest})"
