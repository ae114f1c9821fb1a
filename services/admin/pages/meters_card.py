"""The meters of the town by building and cabinet: filtered, each with its newest value, coverage and findings."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Final

from nicegui import ui

from services.admin.figures import POOR_COVERAGE, id_of
from services.admin.meters import KINDS, MEDIA, MeterItem, Place, Row, by_place, chosen, is_late
from services.admin.pages.fields import may
from services.admin.pages.places_cards import latest_text
from services.admin.pages.view import Card, View, page_path, rich

MOST_SHOWN: Final = 400
"""So many are drawn; of more, the number is said: a filter finds the rest."""
_WARN: Final = "warn"


class MetersListCard(Card):
    """The list."""

    def __init__(self, view: View) -> None:
        town = view.town
        self._minute = -1
        feeds = (town.meter_list, town.meter_coverages, town.findings, town.inventory, town.may_read_in)
        super().__init__(view, "meters", *feeds, mark="meter-list")

    def build(self) -> None:
        """Filters, a sentence and the list."""
        t = self.view.t
        with ui.element("div").classes("filters four"):
            self._text = ui.input(t("fault_filter"), placeholder=t("meter_filter_hint"), on_change=self.show)
            self._text.mark("meter-filter")
            media = {0: t("meter_all_media"), **{int(each): t(f"medium_{int(each)}") for each in MEDIA}}
            self._medium = ui.select(media, value=0, label=t("medium"), on_change=self.show).mark("meter-medium")
            kinds = {0: t("fault_all_kinds"), **{int(each): t(f"meter_kind_{int(each)}") for each in KINDS}}
            self._kind = ui.select(kinds, value=0, label=t("fault_kind"), on_change=self.show).mark("meter-kind")
            self._found = ui.checkbox(t("meter_with_findings"), on_change=self.show).mark("meter-found")
        for element in (self._text, self._medium, self._kind):
            element.props("outlined dense")
        self._text.props("debounce=200 clearable")
        with ui.element("div").classes("with-button"):
            self._sentence = ui.label().classes("quiet").mark("meter-count")
            self._read = ui.link(t("reading_new"), page_path(self.view, "/readings/new")).classes("action")
            self._read.mark("reading-new").set_visibility(False)
        self._list = ui.element("div").classes("streets")

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self.view.town.meter_list)

    def tick(self) -> None:
        """Shows what is new; and once a minute how old the newest values are by now."""
        minute = self.view.town.clock.real().minute
        if minute != self._minute:
            self._minute, self._seen = minute, ()
        super().tick()

    def show(self) -> None:
        """The meters that fit."""
        view, t, town, number = self.view, self.view.t, self.view.town, self.view.formats.number
        self._list.clear()
        self._read.set_visibility(may(town.may_read_in) and bool(town.meter_list.value))
        if town.meter_list.value is None:
            self._sentence.set_text(self.instead(town.meter_list))
            return
        every = town.meter_list.value
        self._findings = Counter(each.meter for each in town.findings.value or () if each.stands)
        names = frozenset(self._findings) if self._found.value else None
        found = chosen(
            every, text=self._text.value or "", medium=self._medium.value or 0, kind=self._kind.value or 0, names=names
        )
        sentence = t("meters_shown", count=number(len(found)), all=number(len(every))) if every else t("meters_none")
        if len(found) > MOST_SHOWN:
            sentence += " " + t("faults_more", count=number(MOST_SHOWN))
        self._sentence.set_text(sentence)
        cabinets = town.inventory.value.cabinets if town.inventory.value else ()
        called = {id_of(place.name): place.display_name for place in cabinets}
        left = MOST_SHOWN
        with self._list:
            for place in by_place(found):
                if left <= 0:
                    break
                self._place(place, place_text(view, place, called), left)
                left -= len(place.rows)

    def _place(self, place: Place, name: str, most: int) -> None:
        t = self.view.t
        with ui.element("section").classes("street").mark("meter-place") as section:
            section.props["aria-label"] = name
            count = self.view.formats.number(len(place.rows))
            rich("h3", f'{escape(name)} <span class="badge">{escape(count)}</span>')
            words = ("meter", "medium", "sensor_value", "reading_age", "coverage_days", "finding_page")
            heads = [t(word) for word in words]
            rows = "".join(self._row(row, heads) for row in place.rows[:most])
            dresses = ("", "", *(["number"] * (len(heads) - 2)))
            cells = "".join(
                f'<th scope="col" role="columnheader" class="{dress}">{escape(head)}</th>'
                for head, dress in zip(heads, dresses, strict=True)
            )
            caption = f'<caption class="for-readers">{escape(t("meters"))}: {escape(name)}</caption>'
            body = f'<thead><tr role="row">{cells}</tr></thead><tbody>{rows}</tbody>'
            # As wide as a phone rows become blocks, which would tell readers nothing of a table any more.
            rich("table", f"{caption}{body}", "stacking meters").props("role=table")

    def _row(self, row: Row, heads: list[str]) -> str:
        view, t, town, meter = self.view, self.view.t, self.view.town, row.meter
        formats, now = view.formats, town.clock.now()
        address = page_path(view, f"/meters/{meter.id}")
        above = ""
        if row.depth and meter.device:
            above = t("meter_register_of", meter=id_of(meter.device))
        elif row.depth and meter.main_meter:
            above = t("meter_behind", meter=id_of(meter.main_meter))
        serial = t("meter_serial_short", number=meter.serial_number) if meter.serial_number else ""
        told = " · ".join(part for part in (meter.id, meter.obis_code, serial, above) if part)
        name = f'<a href="{escape(address)}">{escape(meter.display_name)}</a><span class="quiet">{escape(told)}</span>'
        medium = (
            f'{escape(t(f"medium_{meter.medium}"))}<span class="quiet">{escape(t(f"meter_kind_{meter.kind}"))}</span>'
        )
        latest, age, late = t("nothing") if meter.is_virtual else t("no_reading"), t("nothing"), False
        if meter.latest_value is not None and meter.latest_slot is not None:
            latest = latest_text(formats, meter, meter.latest_value)
            age = t("age", age=formats.span(int((now - meter.latest_slot).total_seconds())))
            late = is_late(meter, now)
        covered = (town.meter_coverages.value or {}).get(meter.name)
        # Of what nobody said how often it is read, coverage tells something only where there is some.
        is_told = covered is not None and (meter.is_read_often or (covered > 0 and not meter.cycle))
        coverage = formats.percent(covered) if is_told and covered is not None else t("nothing")
        poor = covered is not None and covered < POOR_COVERAGE and meter.is_read_often
        count = self._findings[meter.name]
        nothing, counted = t("nothing"), formats.number(count) if count else t("nothing")
        cells = (
            (medium, ""),
            (escape(latest), "number"),
            (f"{escape(age)}{_mark(t('meter_late')) if late else ''}", _dress(age, nothing, warns=late)),
            (escape(coverage), _dress(coverage, nothing, warns=poor)),
            (escape(counted), _dress(counted, nothing, warns=bool(count))),
        )
        rest = "".join(
            f'<td role="cell" class="{dress}" data-label="{escape(head)}"><div>{cell}</div></td>'
            for (cell, dress), head in zip(cells, heads[1:], strict=True)
        )
        head = f'<th scope="row" role="rowheader"><div class="meter-name">{name}</div></th>'
        return f'<tr role="row" class="depth-{min(row.depth, 3)}">{head}{rest}</tr>'


def place_text(view: View, place: Place, called: dict[str, str]) -> str:
    """A building or cabinet as people call it. called: names of cabinets by id."""
    if not place.name:
        return view.t("meter_nowhere")
    if place.is_cabinet:
        return f"{view.t('cabinet')} {place.name} {called.get(place.name, '')}".strip()
    return place.name


def meter_label(view: View, meter: MeterItem) -> str:
    """A meter in one line."""
    parts = [
        meter.display_name,
        meter.place,
        meter.serial_number and view.t("meter_serial_short", number=meter.serial_number),
    ]
    return " · ".join([meter.id, *(part for part in parts if part and part != meter.id)])


def _dress(text: str, nothing: str, *, warns: bool) -> str:
    """How a cell with a number is dressed; where there is none, a phone leaves it out."""
    return f"number {_WARN}" if warns else "number nothing" if text == nothing else "number"


def _mark(word: str) -> str:
    return f'<span class="quiet">{escape(word)}</span>'
