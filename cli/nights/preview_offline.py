"""A preview without a server: the lamps are described on the command line, the answer is the scheduler's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation

from cli import parsing
from domain.errors import InvalidInput
from domain.level import FULL_PERMILLE, OFF_PERMILLE, PowerCurve
from lichtbuch.scheduler.v1 import scheduler_pb2
from services.scheduler.calendar import Calendar
from services.scheduler.convert_preview import Factors, events_of, fill_preview
from services.scheduler.loads import GroupLoad, LoadPart, load_of
from services.scheduler.nights import check_places
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import NIGHTS_CHECKED, Place, Profile
from services.scheduler.sky import Nights
from services.scheduler.warnings import period_warnings

_MOST_LAMPS = 1_000_000
_MOST_WATTS = 10_000.0


@dataclass(frozen=True)
class Lamps:
    """The lamps of a preview as options say them. watts 0: hours only. floor: empty where nobody has said it; "0" says
    that a council lets the street be dark."""

    watts: float = 0.0
    count: int = 1
    curve: str = "typical-led"
    floor: str = ""

    def load(self, place: Place) -> GroupLoad | None:
        """What they draw, nothing without a power; None where neither power nor floor is said.

        Raises InvalidInput that names the option.
        """
        floor_permille = parsing.level(self.floor, "floor") if self.floor else None
        if not self.watts:
            return None if floor_permille is None else _without_power(place, floor_permille)
        if not 0 < self.watts <= _MOST_WATTS:
            raise InvalidInput.of("watts", f"{self.watts:g} W is no power of a lamp")
        if not 1 <= self.count <= _MOST_LAMPS:
            raise InvalidInput.of("lamps", f"{self.count} is not between 1 and {_MOST_LAMPS}")
        curve = curve_of(self.curve, self.watts)
        load = load_of(curve, self.count, place.latitude_deg, place.longitude_deg, floor_permille)
        return replace(load, estimated=self.count) if self.curve == "typical-led" else load


def _without_power(place: Place, floor_permille: int) -> GroupLoad:
    """A lamp of which only the floor is known."""
    levels, powers_w = (OFF_PERMILLE, FULL_PERMILLE), (0.0, 0.0)
    part = LoadPart(place.latitude_deg, place.longitude_deg, floor_permille, True, 1, levels, powers_w)
    return GroupLoad((part,), 1)


def curve_of(text: str, watts: float) -> PowerCurve:
    """Power over level: "typical-led", "not-dimmable", or percent of power at percents of level, "10:33,50:61".

    Full level at full power is understood. Raises InvalidInput that names the option.
    """
    if text == "typical-led":
        return PowerCurve.typical_led(watts, 0.0)
    if text == "not-dimmable":
        return PowerCurve.not_dimmable(watts)
    points: dict[int, int] = {}
    for pair in text.split(","):
        level, colon, power = pair.partition(":")
        if not colon:
            raise InvalidInput.of("curve", f"{pair!r} is no LEVEL:POWER in percent, nor typical-led or not-dimmable")
        points[parsing.level(level, "curve")] = parsing.level(power, "curve")
    points.setdefault(FULL_PERMILLE, FULL_PERMILLE)
    try:
        return PowerCurve(tuple(sorted(points.items())), watts)
    except InvalidInput as error:
        raise InvalidInput.of("curve", "; ".join(violation.reason for violation in error.violations)) from error


def factors_of(price: str, co2: int) -> Factors:
    """Price and emission factor of the options; empty and negative for the defaults. Raises InvalidInput."""
    try:
        found = Factors(
            Decimal(price.replace(",", ".")) if price else Factors().price_eur_per_kwh,
            co2 if co2 >= 0 else Factors().co2_g_per_kwh,
        )
    except InvalidOperation as error:
        raise InvalidInput.of("price", f"{price!r} is no price in EUR per kWh") from error
    if not (found.price_eur_per_kwh.is_finite() and 0 <= found.price_eur_per_kwh < 1000):
        raise InvalidInput.of("price", f"{price!r} is no price in EUR per kWh")
    return found


def preview_offline(
    profile: Profile,
    against: Profile | None,
    place: Place,
    first_night: date,
    nights: int,
    load: GroupLoad | None,
    factors: Factors,
) -> scheduler_pb2.PreviewProfileResponse:
    """What the scheduler would answer for one group at a place. Raises InvalidInput with the first night of a year on
    which a profile goes wrong."""
    profiles = {"previewed": profile}
    for checked in (profile, against):
        if checked is not None:
            check_places(checked, [place], first_night, NIGHTS_CHECKED)
    current = None
    if against is not None:
        current, profiles["against"] = Calendar((), "against"), against
    previewed = Calendar((), "previewed")
    seen = preview_groups(
        [PreviewedGroup("", place, load, current)],
        previewed,
        profiles,
        Period(first_night, nights, place.tz),
        with_courses=True,
    )
    [whole] = seen.groups
    answer = scheduler_pb2.PreviewProfileResponse(
        **events_of(whole.course, place.tz),
        energy_unknown="" if load is not None and load.parts[0].powers_w[-1] else "no lamps are given (--watts)",
        price_eur_per_kwh=str(factors.price_eur_per_kwh),
        co2_g_per_kwh=factors.co2_g_per_kwh,
        warnings=[*whole.warnings, *period_warnings(previewed, Nights(place.tz, first_night, nights))],
    )
    fill_preview(answer, seen, factors, None if current is None else {current: "against"})
    del answer.groups[:]
    answer.lit_seconds = answer.previewed.lit_seconds
    answer.full_light_equivalent_seconds = answer.previewed.full_light_equivalent_seconds
    return answer
