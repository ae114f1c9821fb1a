"""Municipalities and unions of them: what they need in order to be run. Pure."""

import math
import zoneinfo
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from domain.errors import InvalidInput

DEFAULT_TIME_ZONE: Final = "Europe/Berlin"
MAX_DISPLAY_NAME_BYTES: Final = 200
MAX_MEMBERS: Final = 500


@dataclass(frozen=True, slots=True)
class Position:
    """A place on the ground, WGS84 degrees, north and east positive."""

    latitude_deg: float
    longitude_deg: float

    def __post_init__(self) -> None:
        """Raises InvalidInput for what is not on the globe."""
        for field, value, limit in (
            ("latitude_deg", self.latitude_deg, 90),
            ("longitude_deg", self.longitude_deg, 180),
        ):
            if not math.isfinite(value) or abs(value) > limit:
                raise InvalidInput.of(field, f"{value} is not within -{limit}..{limit}")


@dataclass(frozen=True, slots=True)
class Municipality:
    """A town: the tenant of everything. `id` is today's alias, `uid` never changes."""

    uid: str
    id: str
    display_name: str
    time_zone: str
    position: Position
    created_at: datetime
    synthetic: bool = False
    version: int = 1

    def changed(
        self,
        *,
        display_name: str | None = None,
        time_zone: str | None = None,
        position: Position | None = None,
        synthetic: bool | None = None,
    ) -> Self:
        """The municipality with other values; None leaves one as it is. Raises InvalidInput.

        A town that was made up stays marked so: what was invented in it does not become real.
        """
        if self.synthetic and synthetic is False:
            raise InvalidInput.of("synthetic", "a synthetic town cannot become a real one")
        return replace(
            self,
            display_name=self.display_name if display_name is None else check_display_name(display_name),
            time_zone=self.time_zone if time_zone is None else check_time_zone(time_zone),
            position=self.position if position is None else position,
            synthetic=self.synthetic if synthetic is None else synthetic,
        )


@dataclass(frozen=True, slots=True)
class Union:
    """Municipalities that run one system together. It holds no rights: who holds a role in all members sees it."""

    uid: str
    id: str
    display_name: str
    members: tuple[str, ...]
    """Ids of the municipalities, sorted."""


def check_display_name(text: str) -> str:
    """The name as people say it, white space around it removed. Raises InvalidInput where nothing is left."""
    name = text.strip()
    if not name:
        raise InvalidInput.of("display_name", "a name is needed")
    if len(name.encode()) > MAX_DISPLAY_NAME_BYTES:
        raise InvalidInput.of("display_name", f"longer than {MAX_DISPLAY_NAME_BYTES} bytes")
    return name


def check_time_zone(text: str) -> str:
    """The name of an IANA time zone; empty means the default. Raises InvalidInput."""
    if not text:
        return DEFAULT_TIME_ZONE
    if text not in zoneinfo.available_timezones():
        raise InvalidInput.of("time_zone", f"{text[:64]!r} is not an IANA time zone, as Europe/Berlin is")
    return text


def check_members(ids: list[str]) -> tuple[str, ...]:
    """Ids of a union's members, sorted. Raises InvalidInput where one stands twice, or there are none or too many."""
    if not ids or len(ids) > MAX_MEMBERS:
        raise InvalidInput.of("municipalities", f"1..{MAX_MEMBERS} members are needed")
    for index, identifier in enumerate(ids):
        if identifier in ids[:index]:
            raise InvalidInput.of(f"municipalities[{index}]", f"municipalities/{identifier} stands there twice")
    return tuple(sorted(ids))
