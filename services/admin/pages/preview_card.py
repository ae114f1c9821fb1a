"""What a profile would bring: warnings first, sums beside today's and full light, months, a night, the year, events."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import Any, Final

from nicegui import ui

from services.admin.figures import id_of
from services.admin.pages.fields import day_of
from services.admin.pages.preview_charts import night_options, year_options
from services.admin.pages.preview_tables import PreviewTables, group_text
from services.admin.pages.view import Card, View, download_csv, rich
from services.admin.preview import (
    Course,
    Outlook,
    curve_of_night,
    events_csv,
    events_of_night,
    months_csv,
    picture_of,
)

MOST_EVENTS: Final = 400
"""So many switch events are listed; the file has all."""


class PreviewCard(Card):
    """The outlook. Nothing of it is fetched by itself: the form asks."""

    def __init__(self, view: View) -> None:
        self._outlook: Outlook | None = None
        self._name = ""
        self._write = PreviewTables(view)
        self._charts: dict[str, ui.echart] = {}
        super().__init__(view, "outlook", view.town.inventory, view.town.facts, mark="outlook")

    def build(self) -> None:
        """Everything, hidden until there is an outlook."""
        t = self.view.t
        self._sentence = ui.label(t("outlook_none")).classes("quiet").props('role="status"').mark("outlook-state")
        self._spinner = ui.spinner(size="lg").mark("outlook-busy")
        self._spinner.set_visibility(False)
        with ui.element("div").classes("outlook") as self._parts:
            self._warnings = rich("div", classes="warnings").mark("outlook-warnings")
            self._tiles = rich("dl", classes="tiles wide-tiles")
            self._factors = ui.label().classes("quiet")
            self._total = rich("div", classes="scroll")
            rich("h3", escape(t("outlook_months")))
            self._months = rich("div", classes="scroll").mark("outlook-months")
            rich("h3", escape(t("outlook_levels")))
            self._levels = rich("div", classes="scroll").mark("outlook-levels")
            self._cabinets_head = rich("h3", escape(t("outlook_cabinets")))
            self._cabinets = rich("div", classes="scroll long").mark("outlook-cabinets")
            with ui.element("div").classes("filters"):
                self._group = ui.select({}, label=t("target_group"), on_change=self._show_course)
                self._group.props("outlined dense").mark("outlook-group")
                self._night = ui.input(t("outlook_night"), on_change=self._show_night)
                self._night.props("type=date stack-label outlined dense").mark("outlook-night")
            rich("h3", escape(t("outlook_night_chart")))
            self._night_place = ui.element("div").classes("chart")
            self._night_text = rich("div", classes="scroll").mark("outlook-events-night")
            rich("h3", escape(t("outlook_year_chart")))
            self._year_place = ui.element("div").classes("chart year")
            self._year_text = ui.label().classes("quiet")
            rich("h3", escape(t("outlook_events")))
            self._events_text = ui.label().classes("quiet")
            self._events = rich("div", classes="scroll long").mark("outlook-events")
            with ui.element("div").classes("buttons"):
                months = ui.button(t("outlook_months_csv"), on_click=self._download_months).mark("months-csv")
                events = ui.button(t("outlook_events_csv"), on_click=self._download_events).mark("events-csv")
                for button in (months, events):
                    button.props("outline dense no-caps icon=download")
        self._parts.set_visibility(False)

    def note(self) -> str:
        """An outlook is as old as the question."""
        return ""

    def show(self) -> None:
        """Names of groups came, or the position: what is shown is written anew."""
        if self._outlook is not None:
            self._fill(self._outlook)

    # --- from the form -------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """An outlook is being worked out."""
        self._parts.set_visibility(False)
        self._spinner.set_visibility(True)
        self._sentence.set_text(self.view.t("outlook_working"))

    def forget(self) -> None:
        """There is none: what was asked was refused, or nobody answers."""
        self._outlook = None
        self._parts.set_visibility(False)
        self._spinner.set_visibility(False)
        self._sentence.set_text(self.view.t("outlook_none"))

    def take(self, name: str, outlook: Outlook) -> None:
        """Shows an outlook."""
        self._outlook, self._name = outlook, name
        self._spinner.set_visibility(False)
        self._parts.set_visibility(True)
        options = {course.group: group_text(self.view, course.group) for course in outlook.courses}
        kept = self._group.value if self._group.value in options else next(iter(options))
        self._group.set_options(options, value=kept)
        self._group.set_visibility(len(options) > 1)
        self._night.set_value(outlook.first_night.isoformat())
        self._fill(outlook)

    # --- showing -------------------------------------------------------------------------------------------------

    def _fill(self, outlook: Outlook) -> None:
        t, formats = self.view.t, self.view.formats
        first = formats.day_with_year(outlook.first_night)
        zone = formats.zone_name(self.view.town.clock.now())
        words = t("outlook_of", name=self._name or t("nothing"), count=formats.number(outlook.nights), first=first)
        self._sentence.set_text(f"{words} {t('zone_note', zone=zone)}")
        self._warnings.set_content(self._write.warnings(outlook))
        self._warnings.set_visibility(bool(outlook.warnings or outlook.energy_unknown))
        self._tiles.set_content(self._write.tiles(outlook.total))
        self._tiles.set_visibility(outlook.total.previewed.energy_wh is not None)
        price = formats.money(Decimal(outlook.price_eur_per_kwh or 0))
        self._factors.set_text(t("outlook_factors", price=price, co2=formats.number(outlook.co2_g_per_kwh)))
        self._total.set_content(self._write.total(outlook.total))
        self._months.set_content(self._write.months(outlook))
        self._levels.set_content(self._write.levels(outlook))
        self._cabinets.set_content(self._write.cabinets(outlook))
        for element in (self._cabinets_head, self._cabinets):
            element.set_visibility(bool(outlook.cabinets))
        self._group.set_options({course.group: group_text(self.view, course.group) for course in outlook.courses})
        self._show_course()

    def _show_course(self) -> None:
        """Charts and events of the chosen group."""
        course, outlook = self._course(), self._outlook
        if course is None or outlook is None:
            return
        t, town, formats = self.view.t, self.view.town, self.view.formats
        self._show_night()
        for place in (self._night_place, self._year_place):
            place.set_visibility(bool(course.events))
        facts = town.facts.value
        here = facts is not None and facts.latitude_deg is not None and facts.longitude_deg is not None
        position = (facts.latitude_deg, facts.longitude_deg) if here and facts else None
        picture = picture_of(course.events, outlook.first_night, outlook.nights, town.tz, position)  # type: ignore[arg-type]
        self._draw("year", self._year_place, year_options(self.view, picture))
        self._year_text.set_text(t("outlook_year_text") if course.events else t("outlook_no_events"))
        shown = course.events[:MOST_EVENTS]
        more = len(course.events) - len(shown)
        count = formats.number(len(course.events))
        self._events_text.set_text(
            t("outlook_events_more", count=count, shown=formats.number(MOST_EVENTS)) if more else
            t("outlook_events_count", count=count)
        )  # fmt: skip
        self._events.set_content(self._write.events(shown))

    def _show_night(self) -> None:
        """The chart of the chosen night, and its events."""
        course, day = self._course(), day_of(self._night.value)
        if course is None or day is None:
            return
        tz = self.view.town.tz
        try:
            points = curve_of_night(course.events, day, tz)
            events = events_of_night(course.events, day, tz)
        except OverflowError:
            return  # the first or last day that a calendar has
        self._draw("night", self._night_place, night_options(self.view, points))
        self._night_text.set_content(self._write.events(events))

    def _course(self) -> Course | None:
        courses = self._outlook.courses if self._outlook else ()
        return next((course for course in courses if course.group == (self._group.value or "")), None)

    def _draw(self, key: str, place: ui.element, options: dict[str, Any]) -> None:
        if key not in self._charts:
            with place:
                self._charts[key] = ui.echart(options, renderer="canvas" if key == "year" else "svg").classes("echart")
                self._charts[key].props["aria-hidden"] = "true"
            return
        chart = self._charts[key]
        chart.options.clear()
        chart.options.update(options)
        chart.update()

    # --- files ---------------------------------------------------------------------------------------------------

    def _download_months(self) -> None:
        if self._outlook is not None:
            download_csv(months_csv(self._outlook), *self._file_parts("months"))

    def _download_events(self) -> None:
        if self._outlook is not None:
            download_csv(events_csv(self._outlook, self.view.town.tz), *self._file_parts("events"))

    def _file_parts(self, what: str) -> tuple[str, ...]:
        first = self._outlook.first_night.isoformat() if self._outlook else ""
        return ("preview", what, id_of(self.view.town.name), self._name or "profile", first)
