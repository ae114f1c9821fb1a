"""What any device may say about itself, and points without a meaning of their own, for trials and demonstrations."""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import (
    NEVER_ABOVE,
    NEVER_BELOW,
    Direction,
    Point,
    Scope,
    counted,
    flag,
    settable,
    text,
)

_DEVICE, _CHANNEL, _BOTH = Scope.DEVICE, Scope.CHANNEL, Direction.READ_WRITE

POINTS: Final[tuple[Point, ...]] = (
    text("vendor_name", _DEVICE, "who made it"),
    text("product_name", _DEVICE, "what its maker calls it"),
    text("serial_number", _DEVICE, "the maker's number of this one piece; another one is another piece"),
    text("firmware_version", _DEVICE, "the software in it"),
    counted("operating_time", "s", _DEVICE, "time the device has been running"),
    settable("generic_number", "1", _DEVICE, NEVER_BELOW, NEVER_ABOVE, "a number without further meaning"),
    flag("generic_flag", _DEVICE, "a yes or no without further meaning", direction=_BOTH),
    text("generic_text", _DEVICE, "words without further meaning"),
    settable("channel_number", "1", _CHANNEL, NEVER_BELOW, NEVER_ABOVE, "a number of a channel"),
    flag("channel_flag", _CHANNEL, "a yes or no of a channel", direction=_BOTH),
)
