"""The form that enters a council's decision: for which lamps, down to which level, until which review.

What is plainly incomplete is said here; everything else the server judges, and its answer stands at the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nicegui import ui

from domain.errors import LichtbuchError, RetryableError
from lichtbuch.lighting.v1 import waivers_pb2
from servicekit.convert import date_to_proto, timestamp_to_proto
from services.admin.feed import problem_of
from services.admin.metrics import CHANGES
from services.admin.pages.fields import (
    clear_errors,
    day_of,
    day_start,
    instant_of,
    lamps_named,
    may,
    permille_of,
    show_error,
    target_options,
)
from services.admin.pages.view import Card, View
from services.admin.request_ids import RequestIds

KINDS: Final = ("group", "cabinet", "lamp", "town")
MOST_PERMILLE: Final = 999
"""A floor of full light would be none that a waiver lowers."""


class WaiverForm(Card):
    """The form. Hidden from who may not enter waivers, as far as that is known. `on_done` is called after a change."""

    def __init__(self, view: View, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._requests = RequestIds()
        super().__init__(view, "new_waiver", view.town.may_waive, view.town.inventory, mark="waiver-form")

    def build(self) -> None:
        """The fields."""
        t = self.view.t
        self.frame.set_visibility(False)
        with ui.element("form").classes("fields").props("novalidate").mark("waiver-fields") as form:
            form.on("submit.prevent", self._submit)
            kinds = {kind: t(f"target_{kind}") for kind in KINDS}
            self._kind = ui.select(kinds, value="group", label=t("target_kind"), on_change=self._offer)
            self._kind.mark("waiver-kind")
            self._which = ui.select({}, label=t("which"), multiple=True, value=[]).mark("waiver-which")
            self._which.props("use-chips")
            self._lamps = ui.input(t("which"), placeholder=t("waiver_lamps_hint")).mark("waiver-lamps")
            self._floor = ui.number(t("floor_percent"), value=0, min=0, max=99, step=5, suffix="%")
            self._floor.mark("waiver-floor").classes("across")
            self._decision = ui.input(t("decision_reference"), placeholder=t("decision_hint"))
            self._decision.props("maxlength=200").mark("waiver-decision")
            self._decided = ui.input(t("decided_on")).props("type=date stack-label").mark("waiver-decided")
            self._start = ui.input(t("waiver_start")).props("type=datetime-local stack-label").mark("waiver-start")
            self._review = ui.input(t("review_on")).props("type=date stack-label").mark("waiver-review")
            self._review.props["hint"] = t("review_hint")
            self._start.props["hint"] = t("waiver_start_hint")
            self._reason = ui.input(t("reason"), placeholder=t("waiver_hint")).props("maxlength=500")
            self._reason.classes("across").mark("waiver-reason")
            self._sign = ui.checkbox(t("sign_at_pole")).classes("across").mark("waiver-sign")
            self._error = ui.label().classes("form-error").props('role="alert"')
            self._button = ui.button(t("waiver_submit")).props("unelevated no-caps type=submit").mark("waiver-submit")
            self._warnings = ui.label().classes("notice across").props('role="status"').mark("waiver-warnings")
        self._warnings.set_visibility(False)
        self._fields: Mapping[str, Any] = {
            "floor_permille": self._floor,
            "decision_reference": self._decision,
            "decided_on": self._decided,
            "start_time": self._start,
            "review_time": self._review,
            "reason": self._reason,
        }
        for element in (self._kind, self._which, self._lamps, *self._fields.values()):
            element.props("outlined dense")
        self._offer()

    def show(self) -> None:
        """Offers what there is."""
        self.frame.set_visibility(may(self.view.town.may_waive) and self.view.town.inventory.value is not None)
        self._offer()

    def note(self) -> str:
        """What is offered may be old; the list beside the form says so."""
        return ""

    def _offer(self) -> None:
        kind = self._kind.value
        options = target_options(self.view, kind)
        if options != self._which.options:
            self._which.set_options(options, value=[each for each in self._which.value or () if each in options])
        self._which.set_visibility(kind in ("group", "cabinet"))
        self._lamps.set_visibility(kind == "lamp")

    @property
    def _target_field(self) -> Any:
        return self._lamps if self._kind.value == "lamp" else self._which

    async def _submit(self) -> None:
        fields = {**self._fields, "targets": self._target_field}
        clear_errors({**fields, "which": self._which, "lamps": self._lamps}, self._error)
        self._warnings.set_visibility(False)
        wanted = self._read()
        if wanted is None:
            return
        # The same wish again, after no answer, is the same request: the server makes one waiver of it.
        request_id = self._requests.of(wanted.SerializeToString(deterministic=True))
        self._button.disable()
        town = self.view.town
        try:
            warnings = await town.planning.create_waiver(wanted, request_id)
        except LichtbuchError as error:
            CHANGES.labels("waiver", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            show_error(self.view, error, "lighting", fields, self._error)
        else:
            CHANGES.labels("waiver", "ok").inc()
            self._requests.answered()
            ui.notify(self.view.t("waiver_made"), type="positive")
            self._warnings.set_text(" ".join(warnings))
            self._warnings.set_visibility(bool(warnings))
            for element in (self._decision, self._reason):
                element.set_value("")
            await town.waivers.refresh_anew()
        finally:
            self._button.enable()
        self._on_done()

    def _read(self) -> waivers_pb2.Waiver | None:
        """What the fields say; None where something is missing, which is then said at the field."""
        t, tz, now = self.view.t, self.view.town.tz, self.view.town.clock.now()
        missing = t("error_required")
        targets = self._targets()
        floor = permille_of(self._floor.value, MOST_PERMILLE)
        if floor is None:
            self._floor.error = t("error_level")
        decided, review = day_of(self._decided.value), day_of(self._review.value)
        example = self.view.formats.local(now).date().isoformat()
        for element, day in ((self._decided, decided), (self._review, review)):
            if day is None:
                element.error = t("error_date", example=example)
        start = instant_of(self._start.value, tz)
        if start is None and self._start.value:
            self._start.error = t("error_until", example=f"{example} 18:00")
        decision, reason = (self._decision.value or "").strip(), (self._reason.value or "").strip()
        for element, text in ((self._decision, decision), (self._reason, reason)):
            if not text:
                element.error = missing
        if not (targets and decision and reason) or floor is None or decided is None or review is None:
            return None
        if start is None and self._start.value:
            return None
        return waivers_pb2.Waiver(
            targets=targets,
            floor_permille=floor,
            decision_reference=decision,
            decided_on=date_to_proto(decided),
            start_time=timestamp_to_proto(start) if start else None,
            review_time=timestamp_to_proto(day_start(review, tz)),
            sign_at_pole=bool(self._sign.value),
            reason=reason,
        )

    def _targets(self) -> tuple[str, ...]:
        kind, t = self._kind.value, self.view.t
        if kind == "town":
            return (self.view.town.name,)
        if kind == "lamp":
            names, unclear = lamps_named(self.view.town.table.lamps, self._lamps.value or "")
            if unclear:
                self._lamps.error = t("error_lamps", text=self.view.formats.listed(unclear))
            elif not names:
                self._lamps.error = t("error_required")
            return () if unclear else names
        chosen = tuple(self._which.value or ())
        if not chosen:
            self._which.error = t("error_required")
        return chosen
