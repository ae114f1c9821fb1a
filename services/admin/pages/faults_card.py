"""The faults that stand, street by street: filtered, acknowledged with a note, cleared where a person reported them."""

from __future__ import annotations

from html import escape
from typing import Final

from nicegui import ui

from domain.errors import LichtbuchError
from lichtbuch.lighting.v1 import faults_pb2
from services.admin.fault_list import fault_row, faults_csv
from services.admin.faults import FaultNow, StreetWork, fault_from_proto, work_of
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.view import Card, View, download_csv, rich

MOST_SHOWN: Final = 300
"""So many are drawn; of more, the number is said: a filter finds the rest."""
_POWER: Final = (faults_pb2.FAULT_KIND_POWER_TOO_HIGH, faults_pb2.FAULT_KIND_POWER_TOO_LOW)
_KINDS: Final = tuple(value for value in faults_pb2.FaultKind.values() if value)


class FaultsCard(Card):
    """The work list."""

    def __init__(self, view: View) -> None:
        super().__init__(view, "fault_list_standing", view.town.faults, view.town.may_acknowledge, mark="faults")

    def build(self) -> None:
        """Filters, a sentence and the list."""
        t = self.view.t
        with ui.element("div").classes("filters"):
            self._text = ui.input(t("fault_filter"), placeholder=t("fault_filter_hint"), on_change=self.show)
            self._text.mark("fault-filter")
            kinds = {0: t("fault_all_kinds"), **{int(kind): t(f"fault_kind_{int(kind)}") for kind in _KINDS}}
            self._kind = ui.select(kinds, value=0, label=t("fault_kind"), on_change=self.show).mark("fault-kind")
            self._new = ui.checkbox(t("fault_new_only"), on_change=self.show).mark("fault-new")
        for element in (self._text, self._kind):
            element.props("outlined dense")
        self._text.props("debounce=200 clearable")
        with ui.element("div").classes("with-button"):
            self._sentence = ui.label().classes("quiet").mark("fault-count")
            self._csv = ui.button(t("csv_all"), on_click=lambda: self._export(None)).mark("fault-csv")
            self._csv.props("outline dense no-caps icon=download")
        self._streets = ui.element("div").classes("streets")

    def show(self) -> None:
        """The faults that fit."""
        view, t, feed = self.view, self.view.t, self.view.town.faults
        self._streets.clear()
        self._csv.set_visibility(bool(feed.value))
        if feed.value is None:
            self._sentence.set_text(self.instead(feed))
            return
        kind = self._kind.value or 0
        work = work_of(feed.value, text=self._text.value or "", kind=kind, new_only=bool(self._new.value))
        shown, number = sum(len(street.faults) for street in work), view.formats.number
        new = sum(1 for fault in feed.value if fault.is_new)
        if not feed.value:
            sentence = t("no_faults_stand")
        elif shown == len(feed.value):
            sentence = t("faults_stand", count=number(shown), new=number(new))
        else:
            sentence = t("faults_shown", count=number(shown), all=number(len(feed.value)))
        if shown > MOST_SHOWN:
            sentence += " " + t("faults_more", count=number(MOST_SHOWN))
        self._sentence.set_text(sentence)
        left = MOST_SHOWN
        with self._streets:
            for street in work:
                if left <= 0:
                    break
                self._street(street, left)
                left -= len(street.faults)

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self.view.town.faults)

    def _street(self, work: StreetWork, most: int) -> None:
        t = self.view.t
        name = work.street or t("no_street")
        with ui.element("section").classes("street").mark("street") as section:
            section.props["aria-label"] = name
            count = self.view.formats.number(len(work.faults))
            with ui.element("div").classes("with-button"):
                rich("h3", f'{escape(name)} <span class="badge">{escape(count)}</span>')
                button = ui.button(t("csv"), on_click=lambda: self._export(work.street)).mark("street-csv")
                button.props("flat dense no-caps icon=download").props["aria-label"] = t("csv_street", street=name)
            with ui.element("ul").classes("faults"):
                for fault in work.faults[:most]:
                    self._item(fault)

    def _item(self, fault: FaultNow) -> None:
        view, t = self.view, self.view.t
        where = subject_text(view, fault)
        since = t("fault_since", time=view.formats.date_and_time(fault.raised_at))
        seen = values_text(view, fault)
        lines = [part for part in (seen, fault.text) if part]
        if fault.acknowledged_at is not None:
            when = view.formats.date_and_time(fault.acknowledged_at)
            lines.append(t("fault_known", person=fault.acknowledged_by, time=when))
            lines += [fault.note] if fault.note else []
        with ui.element("li").classes("fault is-new" if fault.is_new else "fault").mark("fault"):
            texts = "".join(f"<span>{escape(line)}</span>" for line in lines)
            rich(
                "div",
                f'<p class="what"><strong>{escape(t(f"fault_kind_{fault.kind}"))}</strong> {escape(where)}</p>'
                f'<p class="quiet">{escape(since)}</p>{texts}',
                "about",
            )
            if view.town.may_acknowledge.value is not False:
                with ui.element("div").classes("actions"):
                    self._button("acknowledge", where, fault)
                    if fault.by_hand:
                        self._button("fault_clear", where, fault)

    async def _export(self, street: str | None) -> None:
        """Hands out the list of work as it stands now: of a street, or of all that the filters leave."""
        view, town = self.view, self.view.town
        kind, text, new = self._kind.value or 0, self._text.value or "", bool(self._new.value)
        try:
            messages = await town.planning.fault_messages()
        except LichtbuchError as error:
            ui.notify(view.refusal(error, "lighting"), type="negative", multi_line=True, timeout=8_000)
            return
        work = work_of(map(fault_from_proto, messages), text=text, kind=kind, new_only=new)
        wanted = {fault.name for part in work if street in (None, part.street) for fault in part.faults}
        rows = [fault_row(message, town.tz) for message in messages if message.name in wanted]
        parts = [id_of(town.name), *([] if street is None else [street or view.t("no_street")])]
        day = view.formats.local(town.clock.now()).date().isoformat()
        download_csv(faults_csv(rows), "faults", *parts, day)

    def _button(self, what: str, where: str, fault: FaultNow) -> None:
        t = self.view.t
        word = t("acknowledge_again") if what == "acknowledge" and not fault.is_new else t(what)
        button = ui.button(word, on_click=lambda: self._ask(what, fault)).mark(what)
        button.props("outline dense no-caps").props["aria-label"] = f"{word}: {where}"

    def _ask(self, what: str, fault: FaultNow) -> None:
        """The note that goes with it."""
        t = self.view.t
        # In the card, not in the list: that is made anew whenever something changes.
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t(f"{what}_title")))
            ui.label(f"{t(f'fault_kind_{fault.kind}')}: {subject_text(self.view, fault)}")
            note = ui.input(t("fault_note"), placeholder=t(f"{what}_hint")).props("outlined dense maxlength=500")
            note.classes("wide").mark("fault-note")

            async def done() -> None:
                dialog.close()
                await self._do(what, fault, (note.value or "").strip())

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                ui.button(t(what), on_click=done).props("unelevated no-caps").mark(f"{what}-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _do(self, what: str, fault: FaultNow, note: str) -> None:
        town = self.view.town
        try:
            await (town.acknowledge(fault.name, note) if what == "acknowledge" else town.clear_fault(fault.name, note))
        except LichtbuchError as error:
            CHANGES.labels("fault", problem_of(error).value).inc()
            ui.notify(self.view.refusal(error, "lighting"), type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("fault", "ok").inc()
            ui.notify(self.view.t(f"{what}_done"), type="positive")
        self.tick()


def subject_text(view: View, fault: FaultNow) -> str:
    """What a fault is on, as people call it."""
    identifier, t = id_of(fault.subject), view.t
    words = {
        "luminaires": t("lamp", id=identifier),
        "feeders": f"{t('feeder')} {identifier}",
        "cabinets": f"{t('cabinet')} {identifier}",
        "gateways": f"{t('gateway')} {identifier}",
    }
    text = words.get(fault.collection, identifier or t("nothing"))
    if fault.pole:
        text += f", {t('pole')} {fault.pole}"
    if fault.cabinet and fault.collection != "cabinets":
        text += f" ({t('cabinet')} {id_of(fault.cabinet)})"
    return text


def values_text(view: View, fault: FaultNow) -> str:
    """What was measured, and what it ought to be."""
    t, number = view.t, view.formats.number
    if fault.measured is None:
        return ""
    if fault.kind == faults_pb2.FAULT_KIND_RELAY_FAILURE:
        return t("fault_closed") if fault.measured else t("fault_open")
    if fault.kind == faults_pb2.FAULT_KIND_CYCLING:
        return t("fault_cycles", count=number(fault.measured))
    if fault.kind == faults_pb2.FAULT_KIND_GEAR_UNADDRESSED:
        return t("fault_unaddressed", count=number(fault.measured))
    if fault.expected is None:
        return ""
    if fault.kind in _POWER:
        return t("fault_instead", measured=f"{number(fault.measured, 1)} W", expected=f"{number(fault.expected, 1)} W")
    if fault.kind == faults_pb2.FAULT_KIND_DIMMING_FAILURE:
        percent = view.formats.percent
        return t("fault_instead", measured=percent(round(fault.measured)), expected=percent(round(fault.expected)))
    return ""
