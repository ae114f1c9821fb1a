"""A preview as the contract has it: rounded once, with money and emissions. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.night import instant_from_unix_ms
from lichtbuch.scheduler.v1 import preview_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from services.scheduler.cabinet_loads import CabinetLoad, ForeignHours
from services.scheduler.calendar import Calendar
from services.scheduler.planning import Course
from services.scheduler.preview import CabinetShare, Figures, GroupPreview, PreviewOfGroups

DEFAULT_PRICE_EUR_PER_KWH: Final = "0.30"
"""An assumption, for whoever gives none: the avoidable price of a kWh is in the town's contract of supply."""
DEFAULT_CO2_G_PER_KWH: Final = 363
"""German grid mix 2024, first estimate of UBA."""
MOST_GROUP_NIGHTS: Final = 20_000
"""Of which switch events are told: an answer has to fit a message."""
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True)
class Factors:
    """What a kWh costs and emits."""

    price_eur_per_kwh: Decimal = Decimal(DEFAULT_PRICE_EUR_PER_KWH)
    co2_g_per_kwh: int = DEFAULT_CO2_G_PER_KWH

    def cost_eur(self, energy_wh: float) -> Decimal:
        """Money of an energy, to the cent."""
        exact = Decimal(round(energy_wh)) / 1000 * self.price_eur_per_kwh
        return exact.quantize(_CENT, rounding=ROUND_HALF_UP)

    def co2_g(self, energy_wh: float) -> int:
        """Emissions of an energy in g."""
        return round(energy_wh * self.co2_g_per_kwh / 1000)


def local_times(course: Course, tz: ZoneInfo) -> list[str]:
    """The instants of a course by a town's clock, as ISO text with offset."""
    return [
        instant_from_unix_ms(instant).astimezone(tz).isoformat(timespec="seconds") for instant in course.instants_ms
    ]


def events_of(course: Course | None, tz: ZoneInfo) -> dict[str, Any]:
    """The switch events of a course, as fields."""
    if course is None:
        return {}
    return {
        "instants_unix_ms": course.instants_ms,
        "levels_permille": course.levels_permille,
        "local_times": local_times(course, tz),
        "ramps_s": course.ramps_s,
    }


def fill_preview(
    answer: pb.PreviewProfileResponse,
    seen: PreviewOfGroups,
    factors: Factors,
    calendars: Mapping[Calendar, str] | None,
) -> None:
    """Puts groups, months and sums into an answer. calendars: ids of what groups follow; None for a place only."""
    known = not answer.energy_unknown
    if calendars is not None:
        answer.groups.extend(_group_to_proto(group, factors, calendars, known) for group in seen.groups)
    totals = seen.totals()
    if totals is None:
        return
    for index, name in enumerate(seen.months):
        previewed, current, full = (_figures(each, factors, known, index) for each in totals)
        month = preview_pb2.PreviewMonth(month=name, previewed=previewed, full=full)
        if calendars is not None:
            month.current.CopyFrom(current)
        answer.months.append(month)
    previewed, current, full = (_figures(each, factors, known) for each in totals)
    answer.previewed.CopyFrom(previewed)
    answer.full.CopyFrom(full)
    if calendars is not None:
        answer.current.CopyFrom(current)


def cabinet_to_proto(
    cabinet: CabinetLoad, share: CabinetShare, foreign: Sequence[ForeignHours]
) -> preview_pb2.CabinetPreview:
    """What a cabinet's meter would count. Each figure is rounded by itself; the total is that of the figures."""
    previewed_wh = round(share.previewed_wh)
    loads = [
        preview_pb2.ForeignLoadPreview(
            display_name=each.load.display_name,
            power_w=each.load.power_w,
            from_month=each.load.from_month,
            to_month=each.load.to_month,
            from_time=f"{each.load.hours[0]:%H:%M}" if each.load.hours else "",
            to_time=f"{each.load.hours[1]:%H:%M}" if each.load.hours else "",
            on_seconds=round(each.on_s),
            energy_wh=round(each.energy_wh),
        )
        for each in foreign
    ]
    foreign_wh = sum(load.energy_wh for load in loads)
    return preview_pb2.CabinetPreview(
        cabinet=cabinet.name,
        luminaire_count=share.luminaires,
        other_luminaire_count=max(0, cabinet.luminaires - share.luminaires),
        foreign_loads=loads,
        previewed_wh=previewed_wh,
        current_wh=round(share.current_wh),
        full_wh=round(share.full_wh),
        foreign_wh=foreign_wh,
        total_wh=previewed_wh + foreign_wh,
    )


def _figures(
    figures: Figures, factors: Factors, energy_known: bool, month: int | None = None
) -> preview_pb2.PreviewFigures:
    def value(columns: tuple[float, ...]) -> float:
        return sum(columns) if month is None else columns[month]

    found = preview_pb2.PreviewFigures(
        lit_seconds=round(value(figures.lit_s)),
        full_light_equivalent_seconds=round(value(figures.full_light_equivalent_s)),
    )
    if energy_known:
        energy_wh = value(figures.energy_wh)
        found.lit_luminaire_seconds = round(value(figures.lit_luminaire_s))
        found.energy_wh = round(energy_wh)
        found.energy_sensors_active_wh = round(value(figures.energy_sensors_active_wh))
        found.cost_eur = str(factors.cost_eur(energy_wh))
        found.co2_g = factors.co2_g(energy_wh)
    return found


def _group_to_proto(
    seen: GroupPreview, factors: Factors, calendars: Mapping[Calendar, str], energy_known: bool
) -> preview_pb2.GroupPreview:
    group = seen.group
    municipality, _, _ = group.name.rpartition("/groups/")
    found = preview_pb2.GroupPreview(
        group=group.name,
        problem=seen.problem,
        current_calendar=f"{municipality}/calendars/{calendars[group.current]}" if group.current is not None else "",
        levels_permille=list(seen.level_s),
        level_seconds=[round(seconds) for seconds in seen.level_s.values()],
        shown_levels_permille=list(seen.shown_luminaire_s),
        shown_luminaire_seconds=[round(seconds) for seconds in seen.shown_luminaire_s.values()],
        luminaire_count=group.load.luminaires if group.load is not None else 0,
        estimated_count=group.load.estimated if group.load is not None else 0,
        warnings=seen.warnings,
    )
    for name, figures in (("previewed", seen.previewed), ("current", seen.current), ("full", seen.full)):
        if figures is not None:
            getattr(found, name).CopyFrom(_figures(figures, factors, energy_known))
    if seen.course is not None:
        found.instants_unix_ms.extend(seen.course.instants_ms)
        found.event_levels_permille.extend(seen.course.levels_permille)
        found.local_times.extend(local_times(seen.course, group.place.tz))
        found.ramps_s.extend(seen.course.ramps_s)
    return found
