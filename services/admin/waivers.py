"""Waivers as the page shows them: which hold, which come, which are past their review and ask for a decision. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Final

from lichtbuch.lighting.v1 import waivers_pb2
from services.admin.figures import instant

SOON: Final = timedelta(days=90)
"""So long before its review a waiver says that it ends: a council's paper takes its time."""


class Standing(IntEnum):
    """Where a waiver stands, in the order in which waivers are listed."""

    DUE = 0
    """Past its review, and nobody has decided anew: the floor of the class holds again."""
    HOLDS = 1
    COMING = 2
    OVER = 3
    """Released, or past its review and followed by another one."""


@dataclass(frozen=True, slots=True)
class WaiverNow:
    """A waiver."""

    name: str
    targets: tuple[str, ...]
    floor_permille: int
    decision: str
    decided_on: date | None
    start_at: datetime
    review_at: datetime
    sign_at_pole: bool
    reason: str
    author: str
    released_at: datetime | None = None

    def is_soon(self, now: datetime) -> bool:
        """Whether it holds and its review is near."""
        return self.released_at is None and now < self.review_at <= now + SOON


def waiver_from_proto(message: waivers_pb2.Waiver) -> WaiverNow:
    """A waiver."""
    day = message.decided_on
    return WaiverNow(
        name=message.name,
        targets=tuple(message.targets),
        floor_permille=message.floor_permille,
        decision=message.decision_reference,
        decided_on=date(day.year, day.month, day.day) if day.year else None,
        start_at=instant(message.start_time),
        review_at=instant(message.review_time),
        sign_at_pole=message.sign_at_pole,
        reason=message.reason,
        author=message.author,
        released_at=instant(message.released_at) if message.HasField("released_at") else None,
    )


def standing(waiver: WaiverNow, others: Iterable[WaiverNow], now: datetime) -> Standing:
    """Where a waiver stands among the others of its town."""
    if waiver.released_at is not None:
        return Standing.OVER
    if waiver.review_at > now:
        return Standing.COMING if waiver.start_at > now else Standing.HOLDS
    later = {
        target
        for other in others
        if other.review_at > waiver.review_at and (other.released_at is None or other.released_at > now)
        for target in other.targets
    }
    return Standing.OVER if later.issuperset(waiver.targets) else Standing.DUE


def ordered(waivers: Iterable[WaiverNow], now: datetime) -> list[tuple[Standing, WaiverNow]]:
    """All waivers as they are listed: within a standing by the review, of those that are over the newest first."""
    every = tuple(waivers)
    found = [(standing(waiver, every, now), waiver) for waiver in every]

    def key(pair: tuple[Standing, WaiverNow]) -> tuple[int, float, str]:
        at = pair[1].review_at.timestamp()
        return int(pair[0]), -at if pair[0] is Standing.OVER else at, pair[1].name

    return sorted(found, key=key)
