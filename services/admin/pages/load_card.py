"""Peak and base load of a meter, and its consumption beside that of the year before, per area and by weather."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from html import escape
from typing import Final

from nicegui import ui

from domain.errors import FailedPrecondition, InvalidInput
from domain.night import local_date
from lichtbuch.metering.v1 import metering_pb2
from services.admin.asked import Asked
from services.admin.consumption import Compared, DegreeDays, Load
from services.admin.feed import Feed
from services.admin.formats import Formats
from services.admin.metering import Comparing
from services.admin.pages.fields import permille_of
from services.admin.pages.meter_desk import Desk, period_text
from services.admin.pages.view import NUMBER, Card, Cell, rich, table_html, tiles_html
from services.admin.periods import Period, Span
from services.admin.quantities import amount_text, load_text

AGAIN_S: Final = 300.0
UNEVEN: Final = 100
"""Periods whose coverages differ by more (per mille) cannot be compared without a word about it."""
_HEATING: Final = (
    metering_pb2.MEDIUM_HEAT,
    metering_pb2.MEDIUM_GAS,
    metering_pb2.MEDIUM_OIL,
    metering_pb2.MEDIUM_PELLETS,
)


@dataclass(frozen=True, slots=True)
class _Told:
    """Both answers; None where the period is none for them."""

    load: Load | None
    compared: Compared | None
    refusal: str = ""


class LoadCard(Card):
    """The figures."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        town = desk.view.town
        self._comparing = Comparing(as_energy=desk.as_energy)
        self._feed: Asked[tuple[Period, Comparing], _Told] = Asked(
            "metering", (desk.period, self._comparing), self._fetch, AGAIN_S, town.clock.real
        )
        self._stations: Feed[tuple[str, ...]] = Feed("metering", town.metering.stations, 3_600.0, town.clock.real)
        self.own = (self._feed, self._stations) if desk.meter.medium in _HEATING else (self._feed,)
        super().__init__(desk.view, "meter_figures", self._feed, self._stations, town.meter_list, mark="meter-figures")
        desk.listen(self._changed)

    async def _fetch(self, question: tuple[Period, Comparing]) -> _Told:
        period, comparing = question
        town, meter, tz = self.view.town, self._desk.meter, self.view.town.tz
        load: Load | None = None
        compared: Compared | None = None
        said = ""

        async def loaded() -> None:
            nonlocal load
            with suppress(InvalidInput, FailedPrecondition):
                load = await town.metering.load(meter, period, tz)

        async def beside() -> None:
            nonlocal compared, said
            try:
                compared = await town.metering.comparison(meter, period, tz, comparing)
            except (InvalidInput, FailedPrecondition) as error:
                said = error.message

        wanted = [loaded()] if period.span is not Span.YEARS else []
        wanted += [beside()] if period.span in (Span.MONTH, Span.YEAR) else []
        await asyncio.gather(*wanted)
        return _Told(load, compared, said)

    def _changed(self) -> None:
        self._comparing = replace(self._comparing, as_energy=self._desk.as_energy)
        question = (self._desk.period, self._comparing)
        if question == self._feed.question:
            self._feed.fetch_soon()
        else:
            self._feed.ask(question)
        self.tick()

    def note(self) -> str:
        """Only the figures may be old."""
        return self.view.stale_since(self._feed)

    def build(self) -> None:
        """Tiles, a sentence, the comparison."""
        t = self.view.t
        self._sentence = ui.label().classes("quiet").mark("figures-state")
        self._tiles = rich("dl", classes="tiles wide-tiles").mark("load-tiles")
        self._profile = ui.label().classes("quiet").mark("load-sentence")
        with ui.element("div").classes("savings-parts") as self._beside:
            rich("h3", escape(t("compared")))
            with ui.element("div").classes("filters pair") as self._weather_row:
                self._weather = ui.select({"": t("weather_none")}, value="", label=t("weather"), on_change=self._asked)
                self._weather.props("outlined dense").mark("weather")
                self._base = ui.number(t("base_share"), value=0, min=0, max=100, step=5, on_change=self._asked)
                self._base.props("outlined dense debounce=400").mark("base-share")
            self._weather_row.set_visibility(self._desk.meter.medium in _HEATING)
            self._table = rich("div", classes="scroll").mark("compared")
            self._table.props.update({"tabindex": 0, "role": "region", "aria-label": t("compared")})
            self._words = ui.label().classes("quiet").mark("compared-words")
        self._beside.set_visibility(False)

    def show(self) -> None:
        """What is known of the period."""
        t, found, period = self.view.t, self._feed.answer, self._desk.period
        self._offer()
        load = found.load if found else None
        told = load is not None and not load.refusal and load.resolution_s > 0
        self._tiles.set_visibility(told)
        self._profile.set_visibility(told)
        self._beside.set_visibility(found is not None and period.span in (Span.MONTH, Span.YEAR))
        sentence = self.instead(self._feed) if found is None else ""
        if self._feed.refusal:
            sentence = self.view.told(self._feed.refusal)
        elif found is not None and not told:
            sentence = t("load_none") if period.span is not Span.YEARS else t("load_too_long")
        self._sentence.set_text(sentence)
        self._sentence.set_visibility(bool(sentence))
        if told and load is not None:
            self._show_load(load)
        if found is not None:
            self._show_compared(found)

    def _offer(self) -> None:
        """Weather stations and outdoor sensors to choose from."""
        t, desk = self.view.t, self._desk
        sensors = [each for each in desk.meters if each.is_sensor and each.medium == metering_pb2.MEDIUM_TEMPERATURE]
        options = {"": t("weather_none"), **{each: each for each in self._stations.value or ()}}
        options |= {each.name: each.display_name for each in sensors}
        if options != self._weather.options:
            self._weather.set_options(options, value=self._weather.value if self._weather.value in options else "")

    def _asked(self) -> None:
        share = permille_of(self._base.value)
        self._comparing = Comparing(self._weather.value or "", share or 0, self._desk.as_energy)
        self._changed()

    def _show_load(self, load: Load) -> None:
        t, formats, medium = self.view.t, self.view.formats, self._desk.meter.medium

        def power(per_hour: int) -> str:
            return load_text(formats, per_hour, load.unit, medium)

        factor = t("load_factor")
        peak = t("load_peak_at", time=formats.date_and_time(load.peak_at)) if load.peak_at else t("load_peak")
        self._tiles.set_content(
            tiles_html(
                [
                    ("lit", power(load.peak), peak),
                    ("off", power(load.base), t("load_base")),
                    ("off", power(load.night_base), t("load_night")),
                    ("plain", power(load.mean), t("load_mean")),
                    ("plain", f"{formats.number(load.full_load_hours)} h", t("load_hours")),
                    *([] if load.load_factor is None else [("plain", formats.percent(load.load_factor), factor)]),
                ]
            )
        )
        minutes = formats.number(load.resolution_s // 60)
        self._profile.set_text(t("load_rests_on", minutes=minutes, coverage=formats.percent(load.coverage)))

    def _show_compared(self, found: _Told) -> None:
        t, view, desk = self.view.t, self.view, self._desk
        formats, medium, compared = view.formats, desk.meter.medium, found.compared
        self._table.set_visibility(compared is not None)
        if compared is None:
            self._words.set_text(self.view.told(found.refusal) or t("compared_none"))
            return
        period = desk.period

        def amount(value: int) -> str:
            return amount_text(formats, value, compared.unit, medium)

        tz = view.town.tz
        reference = self._span_text(local_date(compared.reference_start, tz), local_date(compared.reference_end, tz))
        words = ("consumption", "change", "estimated_of_it", "coverage")
        heads = [Cell(t("period")), *(Cell(t(word), NUMBER) for word in words)]

        def row(name: str, used: int, change: str, estimated: str = "", coverage: str = "") -> list[Cell]:
            return [Cell(name), *(Cell(text, NUMBER) for text in (amount(used), change, estimated, coverage))]

        def part(estimated: int) -> str:
            return amount(estimated) if estimated else t("nothing")

        percent = formats.percent
        rows = [
            row(
                self._days(period), compared.amount, change_text(formats, compared.change),
                part(compared.estimated), percent(compared.coverage),
            ),
            row(
                reference, compared.reference_amount, "", part(compared.reference_estimated),
                percent(compared.reference_coverage),
            ),
        ]  # fmt: skip
        if compared.adjusted_reference is not None:
            change = change_text(formats, compared.adjusted_change)
            rows.append(row(t("compared_adjusted"), compared.adjusted_reference, change))
        self._table.set_content(table_html(t("compared"), heads, rows))
        said = []
        if abs(compared.coverage - compared.reference_coverage) > UNEVEN:
            said.append(t("compared_uneven"))
        if compared.milli_amount_per_m2 is not None:
            each = amount_text(formats, compared.milli_amount_per_m2, compared.unit, medium, -3)
            said.append(t("compared_per_m2", amount=each, area=formats.number(desk.meter.floor_area_m2)))
        elif medium in _HEATING:
            said.append(t("compared_no_area"))
        if compared.degree_days and compared.reference_degree_days and self._comparing.weather:
            said.append(
                t(
                    "compared_degree_days", now=self._degree_days(compared.degree_days),
                    then=self._degree_days(compared.reference_degree_days),
                )
            )  # fmt: skip
        said += self._per_degree_day(compared)
        if compared.is_provisional and compared.adjusted_reference is not None:
            said.append(t("compared_provisional"))
        self._words.set_text(" ".join(said))

    def _per_degree_day(self, compared: Compared) -> list[str]:
        """What a degree day used, then and now; nothing where it is known of neither period."""
        each = (compared.milli_amount_per_degree_day, compared.reference_milli_amount_per_degree_day)
        if not self._comparing.weather or each == (None, None):
            return []
        formats, medium = self.view.formats, self._desk.meter.medium
        now, then = (
            self.view.t("unknown_figure") if one is None else amount_text(formats, one, compared.unit, medium, -3)
            for one in each
        )
        return [self.view.t("compared_per_degree_day", now=now, then=then)]

    def _days(self, period: Period) -> str:
        """The days that are compared: those of the period that are over."""
        days = period.whole_days(self.view.town.clock.now(), self.view.town.tz)
        return self._span_text(*days) if days else period_text(self.view, period)

    def _span_text(self, first: date, end: date) -> str:
        write = self.view.formats.day_with_year
        return self.view.t("compared_span", start=write(first), end=write(end - timedelta(days=1)))

    def _degree_days(self, days: DegreeDays) -> str:
        number = self.view.formats.number
        return self.view.t(
            "degree_days", value=number(days.centi / 100, 1), known=number(days.known_days), all=number(days.days)
        )


def change_text(formats: Formats, permille: int | None) -> str:
    """A change with its sign."""
    if permille is None:
        return "–"
    sign = "+" if permille > 0 else ""
    return f"{sign}{formats.number(permille / 10, 1)} %"
