"""What is wrong with lamps now, as bits in columns. Not here: how often a lamp was asked, and the book of faults
(fault_book.py), in which each is raised once and a parent's fault stands for all that hangs on it."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from services.lighting.columns import Flags


class Fault(IntFlag):
    """Fault bits; numbers as in the contract."""

    LAMP_FAILURE = 1
    GEAR_FAILURE = 2
    DIMMING_FAILURE = 4
    DAY_BURNER = 8
    COMMUNICATION_LOSS = 16
    # These three take longer to tell than one reading: the fault watch adds them.
    POWER_TOO_HIGH = 32
    POWER_TOO_LOW = 64
    CYCLING = 128


def fault_bits(
    *,
    unpowered: Flags,
    reachable: Flags,
    lamp_failure: Flags,
    gear_failure: Flags,
    not_following: Flags,
    burning_by_day: Flags,
    silent: Flags,
) -> NDArray[np.uint8]:
    """The faults of each luminaire.

    unpowered: its feeder is de-energised: whatever its gear says or does not say is no fault.
    reachable: it hangs on a gateway that is asked at all.
    lamp_failure, gear_failure: as the gear reported last. not_following: it was told a level often enough and does not
    show it. burning_by_day: lit with the sun up though off is due. silent: it has not answered often enough.
    """
    bits = np.zeros(unpowered.shape, dtype=np.uint8)
    bits[lamp_failure] |= int(Fault.LAMP_FAILURE)
    bits[gear_failure] |= int(Fault.GEAR_FAILURE)
    # Gear that does not answer cannot be seen to follow: one fault, not two.
    bits[not_following & ~gear_failure & ~silent] |= int(Fault.DIMMING_FAILURE)
    bits[burning_by_day & ~silent] |= int(Fault.DAY_BURNER)
    # A gateway that answers and says that the gear does not: the gear is to blame, not the communication.
    bits[silent & ~gear_failure] |= int(Fault.COMMUNICATION_LOSS)
    bits[unpowered | ~reachable] = 0
    return bits
