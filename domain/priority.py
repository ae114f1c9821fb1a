"""Which level is due: the safety order among those who may ask for one. A pure function of time and state.

lock-out > emergency > maintenance > operator > sensor > plan > default

This scalar form is the reference; whoever computes it for a whole town at once is tested against it. Not here: where
commands are stored, who may give them, what sensors make of a plan (sensing.py), and how a level reaches a lamp.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum

from domain.errors import InvalidInput
from domain.level import FULL_PERMILLE, OFF_PERMILLE, check_level


class Priority(IntEnum):
    """Who asks. The greater wins."""

    SENSOR = 1
    OPERATOR = 2
    MAINTENANCE = 3
    EMERGENCY = 4


class Source(Enum):
    """Where a due level comes from."""

    LOCKOUT = "lockout"
    EMERGENCY = "emergency"
    MAINTENANCE = "maintenance"
    OPERATOR = "operator"
    SENSOR = "sensor"
    PLAN = "plan"
    DEFAULT = "default"


_SOURCE_OF = {
    Priority.EMERGENCY: Source.EMERGENCY,
    Priority.MAINTENANCE: Source.MAINTENANCE,
    Priority.OPERATOR: Source.OPERATOR,
    Priority.SENSOR: Source.SENSOR,
}


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody asks for a level, from `starts_at` until before `expires_at`. None lasts for ever.

    uid and issued_at are the server's, never the client's: they decide between commands of one priority.
    Raises OutOfLimits or InvalidInput that names the field.
    """

    uid: str
    priority: Priority
    level_permille: int
    issued_at: datetime
    starts_at: datetime
    expires_at: datetime

    def __post_init__(self) -> None:
        check_level(self.level_permille)
        for field in ("issued_at", "starts_at", "expires_at"):
            instant = getattr(self, field)
            if not isinstance(instant, datetime) or instant.utcoffset() is None:
                raise InvalidInput.of(field, "an instant with a time zone is needed")
        if self.expires_at <= self.starts_at:
            raise InvalidInput.of("expires_at", "the command would end before it starts")

    def holds_at(self, instant: datetime) -> bool:
        """True from its start until before its expiry."""
        return self.starts_at <= instant < self.expires_at

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """The greatest rank wins: priority first, then the last issued, then the greater uid."""
        return int(self.priority), self.issued_at, self.uid


@dataclass(frozen=True, slots=True)
class Waiver:
    """A council's decision that a floor is lower from `starts_at` until before `ends_at`, its review. None lasts for
    ever. Floor 0: may be dark at night. Raises OutOfLimits or InvalidInput that names the field.
    """

    floor_permille: int
    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        check_level(self.floor_permille, "floor_permille")
        for field in ("starts_at", "ends_at"):
            instant = getattr(self, field)
            if not isinstance(instant, datetime) or instant.utcoffset() is None:
                raise InvalidInput.of(field, "an instant with a time zone is needed")
        if self.ends_at <= self.starts_at:
            raise InvalidInput.of("ends_at", "the waiver would end before it starts")

    def holds_at(self, instant: datetime) -> bool:
        """True from its start until before its review."""
        return self.starts_at <= instant < self.ends_at


@dataclass(frozen=True, slots=True)
class Due:
    """The level that is due, and why.

    level_permille: None under a lock-out: nothing is written, neither on nor off.
    command_uid: the command it comes from; empty for plan and default.
    raised: True where a floor, or a place that must not be dimmed, lifted what was asked.
    """

    level_permille: int | None
    source: Source
    command_uid: str = ""
    raised: bool = False


def winner(instant: datetime, commands: Iterable[Command]) -> Command | None:
    """The command that holds at an instant. The order in which they are given does not matter."""
    return max((c for c in commands if c.holds_at(instant)), key=lambda c: c.rank, default=None)


def lifts_floor(priority: Priority, level_permille: int) -> bool:
    """True for a command that may make a street dark at night: level 0 by maintenance or emergency.

    Somebody with a name, a reason and an end decided it.
    """
    return level_permille == OFF_PERMILLE and priority >= Priority.MAINTENANCE


def waived_floor(floor_permille: int, instant: datetime, waivers: Iterable[Waiver]) -> int:
    """The floor that holds at an instant: the lowest of the class's own and those of the waivers that hold."""
    return min([floor_permille, *(w.floor_permille for w in waivers if w.holds_at(instant))])


def due_level(
    instant: datetime,
    *,
    locked_out: bool,
    commands: Iterable[Command],
    plan_level: int | None,
    night: bool,
    floor_permille: int,
    dimmable: bool,
    waivers: Iterable[Waiver] = (),
    sensed: bool = False,
    dark: bool | None = None,
) -> Due:
    """The level that is due at an instant.

    plan_level: level of the plan now in per mille; None where there is no plan or it has run out.
    sensed: a sensor made the plan's level another one (sensing.planned_level).
    night: the sun is down (sunset to sunrise): the default is full light, else off.
    floor_permille: least level of the luminaire's lighting class; dimmable: False at crossings and conflict areas.
    waivers: decisions about this luminaire; those that hold lower its floor, also to 0. None makes a crossing dimmable.
    dark: floors hold now. Without it they hold all night; a caller who gives civil dusk to civil dawn lets a plan that
    switches in the twilight have its way. Raises OutOfLimits for a level or a floor beyond 0..1000.
    """
    check_level(floor_permille, "floor_permille")
    if locked_out:
        return Due(None, Source.LOCKOUT)
    command = winner(instant, commands)
    if command is not None:
        asked, source, uid = command.level_permille, _SOURCE_OF[command.priority], command.uid
    elif plan_level is not None:
        source, uid = (Source.SENSOR if sensed else Source.PLAN), ""
        asked = check_level(plan_level, "plan_level")
    else:
        asked, source, uid = (FULL_PERMILLE if night else OFF_PERMILLE), Source.DEFAULT, ""
    lifted = command is not None and lifts_floor(command.priority, command.level_permille)
    floors_hold = (night if dark is None else dark) and not lifted
    floor = waived_floor(floor_permille, instant, waivers)
    level = safe_level(asked, floors_hold=floors_hold, floor_permille=floor, dimmable=dimmable)
    return Due(level, source, uid, raised=level != asked)


def safe_level(asked_permille: int, *, floors_hold: bool, floor_permille: int, dimmable: bool) -> int:
    """What may be shown where `asked_permille` was asked.

    While floors hold nothing is darker than the floor, and what must not be dimmed is fully lit. While they do not (by
    day, or where a named person made the street dark) off is off; what must not be dimmed is then off or full.
    """
    if floors_hold:
        return max(asked_permille, floor_permille) if dimmable else FULL_PERMILLE
    return asked_permille if dimmable or asked_permille == OFF_PERMILLE else FULL_PERMILLE
