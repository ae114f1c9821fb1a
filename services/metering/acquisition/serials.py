"""Whether the meter that answers is the one that is registered: its own number, read at the start and once a day.

A meter that was swapped without a word shows here at once, long before its counter does. It is told, loudly; what
becomes of the registers is for a person to record (an exchange), not for polling to guess.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from domain.errors import LichtbuchError
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.values import PointAddress, Quality, ValueBatch
from services.metering.acquisition.target import Target
from services.metering.metrics import FOREIGN_METERS, SERIAL_CHECKS
from services.metering.slot import DAY_MS

_log = logging.getLogger(__name__)

_POINTS: Final = ("serial_number", "meter_number")  # the second is what M-Bus calls a meter's identification
_SURE_FROM: Final = 5  # digits that must agree where one of two numbers is a part of the other


@runtime_checkable
class _Described(Protocol):
    """A device that says what it is seen through."""

    @property
    def profile(self) -> Profile:
        """Its profile."""
        ...


class SerialNumbers:
    """The numbers of all meters, as far as their profiles can read one and somebody has registered one."""

    def __init__(self) -> None:
        self._asked_ms: dict[str, int] = {}
        self._foreign: dict[str, str] = {}

    async def check(self, device: Device, targets: Sequence[Target], now_ms: int) -> None:
        """Compares, where that is due, the number of a device with those registered for what is read from it."""
        registered = [target for target in targets if target.serial_number]
        point = _point_of(device)
        if not registered or not point:
            return
        key = f"{targets[0].endpoint_uid} {' '.join(sorted(t.serial_number for t in registered))}"
        if now_ms < self._asked_ms.get(key, -DAY_MS) + DAY_MS:
            return
        try:
            batch = await device.read((PointAddress(point),))
        except LichtbuchError as error:
            _log.warning("the number of %s cannot be read: %s", targets[0].name, error)
            return
        if int(batch.quality[0]) == Quality.MISSING:
            return  # asked again with the next slot
        self._asked_ms[key] = now_ms
        shown = _shown(batch)
        for target in registered if shown else ():
            self._compare(target, shown)
        FOREIGN_METERS.set(len(self._foreign))

    def keep_only(self, meter_uids: set[str]) -> None:
        """Forgets what is no longer polled."""
        self._foreign = {uid: number for uid, number in self._foreign.items() if uid in meter_uids}
        FOREIGN_METERS.set(len(self._foreign))

    def _compare(self, target: Target, shown: str) -> None:
        if are_same(target.serial_number, shown):
            self._foreign.pop(target.meter_uid, None)
            SERIAL_CHECKS.labels("same").inc()
            return
        self._foreign[target.meter_uid] = shown
        SERIAL_CHECKS.labels("foreign").inc()
        _log.error(
            "%s is registered with serial number %s, but the meter that answers is %s: was it exchanged?",
            target.name, target.serial_number, shown,
        )  # fmt: skip


def are_same(registered: str, shown: str) -> bool:
    """Whether two ways to write a number mean one piece: blanks, dashes, case and leading zeros aside, and where the
    plate says more than the device (a maker's code in front) or the other way round."""
    one, other = (_plain(text) for text in (registered, shown))
    if one == other:
        return True
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return len(shorter) >= _SURE_FROM and longer.endswith(shorter)


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()).lstrip("0")


def _point_of(device: Device) -> str:
    """The point that says which piece a device is; empty where there is none."""
    if not isinstance(device, _Described):
        return ""
    return next((point for point in _POINTS if device.profile.readable(point)), "")


def _shown(batch: ValueBatch) -> str:
    """What a device says, as text; empty where it says nothing that can be used."""
    if int(batch.quality[0]) != Quality.GOOD:
        return ""
    return batch.texts[0].strip() if 0 in batch.texts else f"{batch.values[0]:.0f}"
