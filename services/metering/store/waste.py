"""One look of the waste watch at one meter: which rules concern it, what they are given, and what they find.

Reading only; what becomes of the findings is written by store/finding_changes.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.counters import Step as CounterStep
from domain.intervals import Consumption
from domain.night import local_date, local_day_bounds
from services.metering.figures.consumption import Step, boundaries
from services.metering.figures.load import believable
from services.metering.figures.losses import Verdict, check_sum
from services.metering.figures.weather import means_of_sensor
from services.metering.meter import Flow, Kind, Unit
from services.metering.reading import Int64
from services.metering.slot import DAY_MS, from_ms, to_ms
from services.metering.store import weather
from services.metering.store.amounts import Metered
from services.metering.store.figures import Found, consumption_of, from_readings, metered, sub_meters_consumption
from services.metering.store.heads import latest_slots
from services.metering.store.profiles import resolution_ms
from services.metering.store.readings import fetch_lives
from services.metering.store.relations import rows_by_uid, sub_meters_of, terms_of
from services.metering.store.tables import FindingRow, MeterRow
from services.metering.waste.days import Windows, local_days
from services.metering.waste.findings import SUM_DAYS, stock_check, sum_check
from services.metering.waste.parameters import WasteRules
from services.metering.waste.rest_days import is_rest_day
from services.metering.waste.trees import SHARED, Tree, rate_of, rate_over
from services.metering.waste.watch import (
    KEEPING_DAYS,
    WARM_WEEK,
    Rule,
    Waste,
    heating_in_warm_weather,
    night_base_load_up,
    water_never_stops,
    weekend_use,
)

LOOKED_AT_DAYS: Final = 60
"""Days of hours that the rules are given; more where a finding stands, so that what was usual before it is seen."""
USUAL_DAYS: Final = 42
MOST_DAYS: Final = 400
YEAR_DAYS: Final = 400
SILENT_DAYS: Final = 62
"""Profiles and weather are often brought once a month: a meter is looked at up to its last whole day, if that is not
longer ago. Its findings stand until something is known again."""
COVERED_PERMILLE: Final = 750


@dataclass(frozen=True, slots=True)
class Look:
    """What a rule said of a meter. is_known: whether the last days are covered well enough to end a finding."""

    rule: Rule
    waste: Waste | None
    is_known: bool
    shown_at: tuple[str, ...] = ()
    """Ids of the meters behind it whose waste it is."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is on record: begins of the findings that stand, and when people closed others, by rule (Unix ms)."""

    since_ms: Mapping[str, int] = field(default_factory=dict)
    closed_ms: Mapping[str, int] = field(default_factory=dict)

    def since(self, rule: Rule, tz: ZoneInfo) -> date | None:
        """First local day of the finding that stands."""
        found = self.since_ms.get(rule)
        return None if found is None else local_date(from_ms(found), tz)


@dataclass(frozen=True, slots=True)
class Looking:
    """What all looks of a morning have in common. end_ms: the local midnight up to which is looked; means_centi: daily
    means of the weather in hundredths of a degree Celsius."""

    end_ms: int
    tz: ZoneInfo
    means_centi: Mapping[date, int] = field(default_factory=dict)
    rules: WasteRules = field(default_factory=WasteRules)


def look_at(session: Session, meter: Metered, looking: Looking, past: Past) -> list[Look]:
    """All rules that concern a meter, over the time up to a local midnight, or to its own last one that was read."""
    end_ms, tz = looking.end_ms, looking.tz
    row = meter.row
    if meter.removed_ms is not None:
        return []  # taken down: what it showed in its last days is over
    if row.kind == Kind.STOCK:
        return [_stock(session, meter, end_ms, tz, past)]
    if row.kind == Kind.INSTANT or row.flow in (Flow.FEED_IN, Flow.GENERATION) or row.unit not in (Unit.WH, Unit.L):
        return []
    looks = _sums(session, meter, end_ms, tz, past)
    last_ms = _last_midnight(session, [meter], end_ms, tz)
    if last_ms is None:
        return looks
    upto = replace(looking, end_ms=last_ms)
    return looks + _by_hours(session, meter, upto, past) + _warm(session, row, upto, past)


def parts_of(rows: Sequence[MeterRow]) -> dict[str, list[str]]:
    """Uids of the meters whose use a meter counts too, by its uid: its sub-meters, or the terms added to a sum."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.main_meter_uid:
            found.setdefault(row.main_meter_uid, []).append(row.uid)
        if row.kind == Kind.VIRTUAL:
            found.setdefault(row.uid, []).extend(uid for uid, sign in terms_of(row) if sign > 0)
    return found


def in_tree(
    looks: Sequence[Look], row: MeterRow, tree: Tree, standing: Mapping[str, FindingRow], end_ms: int
) -> list[Look]:
    """The looks at a meter, without the waste that those behind it show, which are noted already; notes its own.

    What stands at a meter of which nothing is known at `end_ms` explains the waste of others while it is recent.
    """
    found = {look.rule: look for look in looks}
    for rule in SHARED:
        look, stands = found.get(rule), standing.get(rule.value)
        rate = None
        if look is not None and look.waste is not None:
            shown_at = tree.where(row.uid, look.waste)
            if shown_at:
                found[rule] = Look(rule, None, is_known=True, shown_at=shown_at)
            else:
                rate = rate_of(look.waste)
        elif (
            stands is not None
            and (look is None or not look.is_known)
            and stands.end_ms >= end_ms - SILENT_DAYS * DAY_MS
        ):
            rate = rate_over(stands.excess_amount, stands.start_ms, stands.end_ms)
        tree.note(row.uid, row.meter_id, rule, rate)
    return list(found.values())


def outdoor_means(
    session: Session, municipality_uid: str, temperature: list[Metered], end_ms: int, tz: ZoneInfo
) -> dict[date, int]:
    """Daily means of a town's weather over the last year, in hundredths of a degree: of the station that knows most of
    its days, else of the temperature sensor that does and measures no building."""
    end = local_date(from_ms(end_ms), tz)
    first = end - timedelta(days=YEAR_DAYS)
    found = [
        weather.means(session, municipality_uid, station, first, end)
        for station in weather.stations(session, municipality_uid)
    ]
    if not any(one.known.any() for one in found):
        begin_ms = to_ms(local_day_bounds(first, tz)[0])
        for meter in temperature:
            readings = fetch_lives(session, meter.lives, begin_ms, end_ms)
            exponents = {life.key: life.scale_exponent for life in meter.lives}
            found.append(means_of_sensor(readings, exponents, first, end, tz))
    if not found:
        return {}
    best = max(found, key=lambda one: int(one.known.sum()))
    return {
        day: mean
        for day, mean, known in zip(best.days, best.centi_c.tolist(), best.known.tolist(), strict=True)
        if known
    }


def _last_midnight(session: Session, meters: Sequence[Metered], end_ms: int, tz: ZoneInfo) -> int | None:
    """The last local midnight that readings of all these meters reach, `end_ms` at most; None if that is long ago."""
    newest = min((_newest(session, meter) for meter in meters), default=0)
    last_ms = to_ms(local_day_bounds(local_date(from_ms(newest), tz), tz)[0])
    return min(last_ms, end_ms) if last_ms >= end_ms - SILENT_DAYS * DAY_MS else None


def _newest(session: Session, meter: Metered) -> int:
    """Slot of the newest reading of a meter; of a sum that of the term that is furthest behind."""
    if meter.row.kind == Kind.VIRTUAL:
        terms = rows_by_uid(session, [uid for uid, _ in terms_of(meter.row)])
        return min((_newest(session, term) for term in metered(session, list(terms.values()))), default=0)
    return max(latest_slots(session, [life.key for life in meter.lives]).values(), default=0)


def _by_hours(session: Session, meter: Metered, looking: Looking, past: Past) -> list[Look]:
    row, rules, end_ms, tz = meter.row, looking.rules, looking.end_ms, looking.tz
    of_building = not row.cabinet_id  # what a street's cabinet draws at night is light, and wanted
    night = rules.night(row.medium) if of_building else None
    weekend = rules.weekend(row.medium) if of_building and row.rests_on_weekends else None
    leak = rules.leak(row.medium)
    if night is None and weekend is None and leak is None:
        return []
    begin = local_date(from_ms(end_ms), tz) - timedelta(days=LOOKED_AT_DAYS)
    stands = [day for rule in Rule if (day := past.since(rule, tz)) is not None]
    if stands:
        begin = min(begin, min(stands) - timedelta(days=USUAL_DAYS))
    begin = max(begin, local_date(from_ms(end_ms), tz) - timedelta(days=MOST_DAYS))
    begin_ms = to_ms(local_day_bounds(begin, tz)[0])
    if not resolution_ms(session, meter, begin_ms, end_ms):
        return []
    bounds = boundaries(from_ms(begin_ms), from_ms(end_ms), Step.HOUR, tz)
    steps = believable(from_readings(session, meter, bounds, Step.HOUR, tz))
    days = local_days(steps, tz)
    looks: list[Look] = []
    if night is not None:
        waste = night_base_load_up(steps, tz, night, past.since(Rule.NIGHT_BASE_LOAD_UP, tz))
        looks.append(Look(Rule.NIGHT_BASE_LOAD_UP, waste, _known(days, night.recent)))
    if weekend is not None:
        waste = weekend_use(steps, tz, weekend, is_rest_day, past.since(Rule.WEEKEND_USE, tz))
        looks.append(Look(Rule.WEEKEND_USE, waste, _known(days, KEEPING_DAYS)))
    if leak is not None:
        waste = water_never_stops(steps, leak)
        looks.append(Look(Rule.WATER_NEVER_STOPS, waste, _known(days, 2)))
    return looks


def _known(days: Windows, last: int) -> bool:
    return len(days.days) >= last and bool(days.known(COVERED_PERMILLE)[-last:].all())


def _warm(session: Session, row: MeterRow, looking: Looking, past: Past) -> list[Look]:
    """Up to the last day whose temperature is known."""
    parameters = looking.rules.warm(row.medium)
    if parameters is None:
        return []
    end_ms, tz, means_centi = looking.end_ms, looking.tz, looking.means_centi
    told = [day for day in means_centi if to_ms(local_day_bounds(day, tz)[1]) <= end_ms]
    if not told:
        return []
    last_ms = to_ms(local_day_bounds(max(told), tz)[1])
    if last_ms < end_ms - SILENT_DAYS * DAY_MS:
        return []
    days = _daily(session, row, last_ms, tz)
    waste = heating_in_warm_weather(days, means_centi, parameters, past.since(Rule.HEATING_IN_WARM_WEATHER, tz))
    known = all(day in means_centi for day in days.days[-WARM_WEEK:]) and _known(days, WARM_WEEK)
    return [Look(Rule.HEATING_IN_WARM_WEATHER, waste, known)]


def _daily(session: Session, row: MeterRow, end_ms: int, tz: ZoneInfo) -> Windows:
    """A heating year and more of local days, as far as they are measured."""
    [found] = consumption_of(session, [row], _day_bounds(end_ms, YEAR_DAYS, tz), Step.LOCAL_DAY, tz)
    return _windows(believable(found), tz)


def _windows(found: Consumption, tz: ZoneInfo) -> Windows:
    days = [local_date(from_ms(start), tz) for start in found.starts_ms.tolist()]
    measured = found.amount - found.estimated_amount
    return Windows(days, found.starts_ms, found.ends_ms, measured, found.measured_ms)


def _sums(session: Session, meter: Metered, end_ms: int, tz: ZoneInfo, past: Past) -> list[Look]:
    row = meter.row
    subs = sub_meters_of(session, row.uid)
    if not subs:
        return []
    hanging = [sub for sub in metered(session, subs) if sub.removed_ms is None]
    last_ms = _last_midnight(session, [meter, *hanging], end_ms, tz)
    if last_ms is None:
        return []
    end_ms = last_ms
    since_ms = past.since_ms.get(Rule.SUM_CHECK)
    days = SUM_DAYS if since_ms is None else max(SUM_DAYS, min(MOST_DAYS, -(-(end_ms - since_ms) // DAY_MS) + 1))
    bounds = _day_bounds(end_ms, days, tz)
    [main] = consumption_of(session, [row], bounds, Step.LOCAL_DAY, tz)
    parts = sub_meters_consumption(session, subs, bounds, Step.LOCAL_DAY, tz)
    found = check_sum(believable(main), [believable(part) for part in parts], row.loss_tolerance_permille)
    known = found.verdict[-SUM_DAYS:] != Verdict.UNKNOWN
    return [Look(Rule.SUM_CHECK, sum_check(found, since_ms), bool(known.all()))]


def _stock(session: Session, meter: Metered, end_ms: int, tz: ZoneInfo, past: Past) -> Look:
    """A store is looked at over the last year; what a person has closed is not looked at again."""
    bounds = np.array([end_ms - YEAR_DAYS * DAY_MS, end_ms], np.int64)
    found = Found()
    from_readings(session, meter, bounds, Step.TOTAL, tz, found)
    missing = [one for one in found.stock_findings if one.step is not CounterStep.SPIKE]
    after_ms = max(int(bounds[0]), past.closed_ms.get(Rule.STOCK, 0))
    return Look(Rule.STOCK, stock_check(missing, after_ms), is_known=True)


def _day_bounds(end_ms: int, days: int, tz: ZoneInfo) -> Int64:
    end = local_date(from_ms(end_ms), tz)
    start = local_day_bounds(end - timedelta(days=days), tz)[0]
    return boundaries(start, from_ms(end_ms), Step.LOCAL_DAY, tz)
