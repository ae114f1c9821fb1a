"""Readings of a meter on one day, with where they come from and what stood there before; put right, gaps filled."""

from __future__ import annotations

from datetime import date, time
from html import escape
from typing import Any, Final

from nicegui import ui

from domain.night import local_date, local_day_bounds, local_instant
from lichtbuch.metering.v1 import metering_pb2
from services.admin.asked import Asked
from services.admin.pages.fields import day_of
from services.admin.pages.meter_desk import Desk
from services.admin.pages.reading_dialogs import EditDialog, EstimateDialog
from services.admin.pages.view import Card, View, page_path, rich
from services.admin.periods import Span
from services.admin.quantities import counter_text, value_text
from services.admin.readings import Reading, ReadingNow

AGAIN_S: Final = 60.0
_PLAIN: Final = (metering_pb2.READING_STATUS_MEASURED, metering_pb2.READING_STATUS_HAND)
BY_MACHINE: Final = ("poll", "history", "reset", "revalidation")
SOURCES: Final = (*BY_MACHINE, "hand", "import", "edit", "estimate", "exchange", "installation")
"""Where metering says that readings come from, as far as there is a word for it."""
_PRESSED: Final = """(event) => {
  const button = event.target.closest("[data-row]");
  if (button) emit(button.dataset.row);
}"""


class ReadingsCard(Card):
    """The list of a day."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._is_filling = False
        town = desk.view.town
        self._feed: Asked[date, tuple[ReadingNow, ...]] = Asked(
            "metering", self._day_of_desk(), self._fetch, AGAIN_S, town.clock.real
        )
        self.own = (self._feed,)
        super().__init__(desk.view, "readings", self._feed, town.may_edit_readings, town.may_read_in, mark="readings")
        desk.listen(self._changed)

    async def _fetch(self, day: date) -> tuple[ReadingNow, ...]:
        town = self.view.town
        start, end = local_day_bounds(day, town.tz)
        return await town.metering.readings(self._desk.meter, start, end)

    def _day_of_desk(self) -> date:
        """The day that is looked at; of a longer period the last one with readings, as far as is known."""
        desk = self._desk
        if desk.period.span is Span.DAY:
            return desk.period.first
        slot = desk.meter.latest_slot
        newest = local_date(slot, desk.view.town.tz) if slot else None
        return newest if newest and desk.period.first <= newest < desk.period.end else desk.day

    def _changed(self) -> None:
        if self._desk.period.span is Span.DAY:
            self._feed.ask(self._desk.period.first)
            self._set_day(self._desk.period.first)
        self._feed.fetch_soon()
        self.tick()

    def note(self) -> str:
        """Only the list may be old."""
        return self.view.stale_since(self._feed)

    def build(self) -> None:
        """The day, what a person does, the list."""
        t = self.view.t
        with ui.element("div").classes("filters pair"):
            self._day = ui.input(t("readings_day"), on_change=self._day_chosen).mark("readings-day")
            self._day.props("type=date stack-label outlined dense")
            with ui.element("div").classes("buttons start"):
                self._enter = ui.link(
                    t("reading_new"), page_path(self.view, f"/readings/new?meter={self._desk.meter.id}")
                )
                self._enter.classes("action").mark("reading-new")
                self._estimate = ui.button(t("estimate"), on_click=self._ask_estimate).mark("estimate")
                self._estimate.props("outline no-caps")
        self._set_day(self._feed.question)
        self._sentence = ui.label().classes("quiet").props('role="status"').mark("readings-state")
        self._table = rich("table", classes="stacking readings").props("role=table").mark("readings-table")
        self._table.on("click", self._pressed, js_handler=_PRESSED)

    def _set_day(self, day: date) -> None:
        self._is_filling = True
        self._day.set_value(day.isoformat())
        self._is_filling = False

    def _day_chosen(self) -> None:
        day = day_of(self._day.value)
        if day is not None and not self._is_filling:
            self._feed.ask(day)
            self.tick()

    def show(self) -> None:
        """The readings."""
        t, town, found = self.view.t, self.view.town, self._feed.answer
        meter, number = self._desk.meter, self.view.formats.number
        may_edit = town.may_edit_readings.value is True
        self._estimate.set_visibility(may_edit and meter.is_estimable)
        self._enter.set_visibility(town.may_read_in.value is True and meter.is_readable)
        self._table.set_visibility(bool(found))
        if not found:
            self._sentence.set_text(
                self.view.told(self._feed.refusal)
                or (t("readings_none") if found is not None else self.instead(self._feed))
            )
            return
        gaps = sum(1 for each in found if not each.current.has_value)
        sentence = t("readings_count", count=number(len(found)))
        self._sentence.set_text(f"{sentence} {t('readings_gaps', count=number(gaps))}" if gaps else sentence)
        words = ["slot_time", "value", "reading_status", "reading_source", *(["reading_edit_head"] if may_edit else [])]
        heads = [t(word) for word in words]
        dresses = ("", "number", "", "", "number")
        cells = "".join(
            f'<th scope="col" role="columnheader" class="{dress}">{escape(head)}</th>'
            for head, dress in zip(heads, dresses, strict=False)
        )
        rows = "".join(self._row(row, each, heads, may_edit=may_edit) for row, each in enumerate(found))
        caption = f'<caption class="for-readers">{escape(t("readings"))}</caption>'
        self._table.set_content(f'{caption}<thead><tr role="row">{cells}</tr></thead><tbody>{rows}</tbody>')

    def _row(self, row: int, reading: ReadingNow, heads: list[str], *, may_edit: bool) -> str:
        t, formats, now = self.view.t, self.view.formats, reading.current
        clock = formats.clock(now.slot)
        older = "".join(f'<span class="quiet">{escape(self._before(each))}</span>' for each in reading.before)
        status = escape(t(f"reading_status_{now.status}"))
        badge = f'<span class="badge status-{now.status}">{status}</span>'
        reason = f'<span class="quiet">{escape(self.view.told(now.reason))}</span>' if now.reason else ""
        cells = [
            (f"{escape(value_of(self.view, self._desk, now))}{older}", "number"),
            (badge, ""),
            (f"{escape(source_text(self.view, now))}{reason}", "source"),
        ]
        if may_edit:
            name = escape(t("reading_edit_of", time=clock))
            word = escape(t("reading_edit"))
            button = f'<button type="button" class="small" data-row="{row}" aria-label="{name}">{word}</button>'
            cells.append((button, "number"))
        rest = "".join(
            f'<td role="cell" class="{dress}" data-label="{escape(head)}"><div>{cell}</div></td>'
            for (cell, dress), head in zip(cells, heads[1:], strict=True)
        )
        return f'<tr role="row"><th scope="row" role="rowheader">{escape(clock)}</th>{rest}</tr>'

    def _before(self, reading: Reading) -> str:
        """What stood there before."""
        return self.view.t(
            "reading_before", value=value_of(self.view, self._desk, reading),
            status=self.view.t(f"reading_status_{reading.status}"), source=source_text(self.view, reading),
        )  # fmt: skip

    # --- what a person does --------------------------------------------------------------------------------------

    def _pressed(self, event: Any) -> None:
        found = self._feed.answer or ()
        row = event.args if isinstance(event.args, str) else ""
        if row.isdigit() and int(row) < len(found) and self.view.town.may_edit_readings.value is True:
            with self.frame:
                EditDialog(self._desk, found[int(row)].current, self._stored).open()

    def _ask_estimate(self) -> None:
        day = self._feed.question
        tz = self.view.town.tz
        start = local_instant(day.replace(day=1), time(0), tz) if self._desk.meter.is_read_often else None
        with self.frame:
            EstimateDialog(
                self._desk, local_date(start, tz) if start else day.replace(month=1, day=1), day, self._stored
            ).open()

    async def _stored(self) -> None:
        """Something is stored: everything that rests on it is asked for anew."""
        await self.view.town.meter_list.refresh_anew()
        self._desk.changed()


def value_of(view: View, desk: Desk, reading: Reading) -> str:
    """A reading's value as it stands, in the meter's unit; of a gap nothing."""
    meter = desk.meter
    if not reading.has_value:
        return view.t("nothing")
    told = (view.formats, reading.value, meter.unit, meter.scale_exponent, meter.medium)
    counts = meter.kind == metering_pb2.READING_KIND_COUNTER
    return counter_text(*told, in_columns=True) if counts else value_text(*told)


def source_text(view: View, reading: Reading) -> str:
    """Where a reading comes from, by whom and when."""
    t, (kind, _, detail) = view.t, reading.source.partition(":")
    words = [t(f"source_of_{kind}", detail=detail) if kind in SOURCES else reading.source or t("nothing")]
    if reading.actor and kind not in BY_MACHINE:
        words.append(t("reading_by", person=reading.actor))
    return " ".join(words)
