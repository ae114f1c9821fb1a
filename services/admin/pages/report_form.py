"""The small form by which a person reports a fault by hand: of a lamp without communication, or told by telephone."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, RetryableError
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.lamps_card import find_lamps
from services.admin.pages.view import Card, View
from services.admin.request_ids import RequestIds

KINDS: Final = ("lamp", "cabinet")


class ReportForm(Card):
    """The form. Hidden from who may not report, as far as that is known."""

    def __init__(self, view: View) -> None:
        self._requests = RequestIds()
        super().__init__(view, "report_fault", view.town.may_acknowledge, view.town.inventory, mark="report-form")

    def build(self) -> None:
        """The fields."""
        t = self.view.t
        self.frame.set_visibility(False)
        with ui.element("form").classes("fields").props("novalidate").mark("report-fields") as form:
            form.on("submit.prevent", self._submit)
            kinds = {kind: t(f"target_{kind}") for kind in KINDS}
            self._kind = ui.select(kinds, value="lamp", label=t("target_kind"), on_change=self._offer).mark("on-what")
            self._lamp = ui.input(t("which"), placeholder=t("find_lamp_hint")).mark("report-lamp")
            self._cabinet = ui.select({}, label=t("which"), with_input=True).mark("report-cabinet")
            self._text = ui.input(t("report_text"), placeholder=t("report_hint")).props("maxlength=1000")
            self._text.mark("report-text").classes("across")
            ui.label(t("report_privacy")).classes("quiet across")
            self._error = ui.label().classes("form-error").props('role="alert"')
            self._button = ui.button(t("report_submit")).props("unelevated no-caps type=submit").mark("report-submit")
        for element in (self._kind, self._lamp, self._cabinet, self._text):
            element.props("outlined dense")
        self._offer()

    def show(self) -> None:
        """Offers what there is."""
        allowed, inventory = self.view.town.may_acknowledge, self.view.town.inventory
        may = allowed.value is True or (allowed.value is None and allowed.problem is not None)
        self.frame.set_visibility(may and inventory.value is not None)
        self._offer()

    def _offer(self) -> None:
        inventory = self.view.town.inventory.value
        places = inventory.cabinets if inventory else ()
        options = {place.name: f"{id_of(place.name)} {place.display_name}" for place in places}
        if options != self._cabinet.options:
            kept = self._cabinet.value if self._cabinet.value in options else next(iter(options), None)
            self._cabinet.set_options(options, value=kept)
        self._lamp.set_visibility(self._kind.value == "lamp")
        self._cabinet.set_visibility(self._kind.value == "cabinet")

    async def _submit(self) -> None:
        self._lamp.error = self._text.error = None
        self._error.set_text("")
        wanted = self._read()
        if wanted is None:
            return
        # The same wish again, after no answer, is the same request: the server makes one fault of it.
        request_id = self._requests.of(wanted)
        self._button.disable()
        try:
            await self.view.town.report_fault(*wanted, request_id)
        except LichtbuchError as error:
            CHANGES.labels("report", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            self._show_error(error)
        else:
            CHANGES.labels("report", "ok").inc()
            self._requests.answered()
            ui.notify(self.view.t("report_done"), type="positive")
            self._text.set_value("")
            self._lamp.set_value("")
        finally:
            self._button.enable()

    def _read(self) -> tuple[str, str] | None:
        t, text = self.view.t, (self._text.value or "").strip()
        if self._kind.value == "lamp":
            lamps = tuple(self.view.town.table.lamps)
            rows = find_lamps(lamps, self._lamp.value or "")
            subject = lamps[rows[0]].name if len(rows) == 1 else ""
        else:
            subject = self._cabinet.value or ""
        if not subject:
            several = self._kind.value == "lamp" and (self._lamp.value or "").strip()
            self._lamp.error = t("error_lamp") if several else t("error_required")
        if not text:
            self._text.error = t("error_required")
        return (subject, text) if subject and text else None

    def _show_error(self, error: LichtbuchError) -> None:
        violations = error.violations if isinstance(error, InvalidInput | FailedPrecondition) else ()
        words = " ".join(map(str, violations)) or self.view.refusal(error, "lighting")
        self._error.set_text(words)
