"""Two things that a person does to stored readings, in dialogs: to put one right, and to have gaps filled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, time, timedelta
from html import escape
from typing import Final

from nicegui import ui

from domain.errors import Conflict, LichtbuchError, RetryableError
from domain.night import local_instant
from lichtbuch.metering.v1 import metering_pb2
from services.admin.feed import problem_of
from services.admin.metrics import CHANGES
from services.admin.pages.fields import day_of
from services.admin.pages.meter_desk import Desk
from services.admin.pages.view import rich
from services.admin.quantities import counter_text, digits_of, parsed, scale_of, stored_value, value_text
from services.admin.readings import Reading
from services.admin.request_ids import RequestIds

_METHODS: Final = (metering_pb2.ESTIMATION_METHOD_LINEAR, metering_pb2.ESTIMATION_METHOD_WEEKDAY_PROFILE)


class EditDialog:
    """One reading gets another value, with a reason; or is said to be none."""

    def __init__(self, desk: Desk, reading: Reading, done: Callable[[], Awaitable[None]]) -> None:
        self._desk, self._reading, self._done = desk, reading, done
        self._requests = RequestIds()
        view, t, meter = desk.view, desk.view.t, desk.meter
        self._scale = scale_of(meter.unit, meter.medium)
        write = counter_text if meter.kind == metering_pb2.READING_KIND_COUNTER else value_text
        stands = write(view.formats, reading.value, meter.unit, meter.scale_exponent, meter.medium)
        with ui.dialog() as self._dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("reading_edit_title", time=view.formats.date_and_time(reading.slot))))
            ui.label(t("reading_stands", value=stands if reading.has_value else t("nothing"))).classes("quiet")
            unit = f" ({self._scale.symbol})" if self._scale.symbol else ""
            self._value = ui.input(f"{t('reading_new_value')}{unit}").props("outlined dense inputmode=decimal")
            self._value.classes("wide").mark("edit-value")
            self._none = ui.checkbox(t("reading_is_none"), on_change=self._toggled).mark("edit-none")
            self._reason = ui.input(t("reason"), placeholder=t("edit_reason_hint")).mark("edit-reason")
            self._reason.props("outlined dense maxlength=500").classes("wide")
            ui.label(t("reading_kept")).classes("quiet")
            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=self._dialog.close).props("flat no-caps")
                self._button = ui.button(t("save"), on_click=self._save).props("unelevated no-caps").mark("edit-now")
        self._dialog.on("hide", self._dialog.delete)

    def open(self) -> None:
        """Shows it."""
        self._dialog.open()

    def _toggled(self) -> None:
        self._value.set_visibility(not self._none.value)

    async def _save(self) -> None:
        view, t, meter = self._desk.view, self._desk.view.t, self._desk.meter
        self._value.error = self._reason.error = None
        value: int | None = None
        if not self._none.value:
            shown = parsed(self._value.value or "", t.language)
            value = None if shown is None else stored_value(shown, self._scale, meter.scale_exponent)
            if value is None:
                digits = view.formats.number(digits_of(self._scale, meter.scale_exponent))
                self._value.error = t("error_counter", digits=digits)
                return
        reason = (self._reason.value or "").strip()
        if not reason:
            self._reason.error = t("error_required")
            return
        request_id = self._requests.of((value, reason))
        self._button.disable()
        try:
            await view.town.metering.edit(meter, self._reading, value, reason, request_id)
        except LichtbuchError as error:
            CHANGES.labels("reading", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            said = t("error_conflict") if isinstance(error, Conflict) else view.refusal(error, "metering")
            ui.notify(said, type="negative", multi_line=True, timeout=8_000)
            self._button.enable()
            return
        CHANGES.labels("reading", "ok").inc()
        ui.notify(t("reading_edited"), type="positive")
        self._dialog.close()
        await self._done()


class EstimateDialog:
    """Gaps of some days are filled with estimates: first it is said what with, then it is done."""

    def __init__(self, desk: Desk, first: date, last: date, done: Callable[[], Awaitable[None]]) -> None:
        self._desk, self._done = desk, done
        self._requests = RequestIds()
        t = desk.view.t
        with ui.dialog() as self._dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("estimate_title")))
            ui.label(t("estimate_text")).classes("quiet")
            self._first = ui.input(t("estimate_first"), value=first.isoformat(), on_change=self._changed)
            self._last = ui.input(t("estimate_last"), value=last.isoformat(), on_change=self._changed)
            for element, mark in ((self._first, "estimate-first"), (self._last, "estimate-last")):
                element.props("type=date stack-label outlined dense").classes("wide").mark(mark)
            methods = {int(method): t(f"estimate_method_{int(method)}") for method in _METHODS}
            self._method = ui.select(
                methods, value=int(_METHODS[0]), label=t("estimate_method"), on_change=self._changed
            )
            self._method.props("outlined dense").classes("wide").mark("estimate-method")
            self._reason = ui.input(t("reason"), placeholder=t("estimate_reason_hint")).mark("estimate-reason")
            self._reason.props("outlined dense maxlength=500").classes("wide")
            self._answer = ui.label().props('role="status"').mark("estimate-answer")
            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=self._dialog.close).props("flat no-caps")
                self._try = ui.button(t("estimate_try"), on_click=self._ask).props("outline no-caps")
                self._try.mark("estimate-try")
                self._store = ui.button(t("estimate_store"), on_click=self._fill).props("unelevated no-caps")
                self._store.mark("estimate-store").disable()
        self._dialog.on("hide", self._dialog.delete)

    def open(self) -> None:
        """Shows it."""
        self._dialog.open()

    def _changed(self) -> None:
        self._store.disable()
        self._answer.set_text("")

    async def _ask(self) -> None:
        await self._call(store=False)

    async def _fill(self) -> None:
        await self._call(store=True)

    async def _call(self, *, store: bool) -> None:
        view, t, town = self._desk.view, self._desk.view.t, self._desk.view.town
        first, last = day_of(self._first.value), day_of(self._last.value)
        self._first.error = None if first else t("error_required")
        self._last.error = None if last and first and last >= first else t("estimate_error")
        if first is None or last is None or last < first:
            return
        start = local_instant(first, time(0), town.tz)
        end = min(local_instant(last + timedelta(days=1), time(0), town.tz), town.clock.now())
        wanted = (start, end, int(self._method.value), (self._reason.value or "").strip())
        request_id = self._requests.of(wanted) if store else ""
        self._try.disable()
        self._store.disable()
        try:
            fill = await town.metering.estimate(self._desk.meter, *wanted, request_id)
        except LichtbuchError as error:
            # A refused trial says nothing of estimates that nobody has answered for.
            if store and not isinstance(error, RetryableError):
                self._requests.answered()
            CHANGES.labels("estimate", problem_of(error).value).inc()
            self._answer.set_text(view.refusal(error, "metering"))
            return
        finally:
            self._try.enable()
        number = view.formats.number
        if not store:
            words = t("estimate_would", count=number(fill.count)) if fill.count else t("estimate_nothing")
            left = t("estimate_left", gaps="; ".join(map(view.told, fill.unfilled[:5]))) if fill.unfilled else ""
            self._answer.set_text(f"{words} {left}".strip())
            if fill.count:
                self._store.enable()
            return
        CHANGES.labels("estimate", "ok").inc()
        ui.notify(t("estimate_done", count=number(fill.count)), type="positive")
        self._dialog.close()
        await self._done()
