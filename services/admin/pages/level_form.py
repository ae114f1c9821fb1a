"""The small form that sets the light of a group, a cabinet, a lamp or the town until a time, for a reason.

What is plainly incomplete is said here; everything else the server judges, and its answer stands at the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from nicegui import ui

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, RetryableError
from domain.night import ceil_slot
from domain.timelapse import MAX_SPEED
from services.admin.feed import problem_of
from services.admin.lamps import Lamp
from services.admin.metrics import CHANGES
from services.admin.pages.fields import instant_of, permille_of, target_options
from services.admin.pages.lamps_card import find_lamps
from services.admin.pages.overrides_card import targets_text
from services.admin.pages.view import Card, View
from services.admin.request_ids import RequestIds

KINDS: Final = ("group", "cabinet", "lamp", "town")
LEAST_REAL: Final = timedelta(minutes=2)
"""In a time-lapse the proposed end lies at least so far ahead that somebody can watch."""
_FIELDS: Final[Mapping[str, str]] = {
    "level_permille": "level",
    "expire_time": "until",
    "start_time": "until",
    "reason": "reason",
    "targets": "which",
}


class LevelForm(Card):
    """The form. Hidden from who may not override, as far as that is known. `on_done` is called after a change."""

    def __init__(self, view: View, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._requests = RequestIds()
        self._proposed = ""
        super().__init__(view, "set_level", view.town.may_override, view.town.inventory, mark="level-form")

    def build(self) -> None:
        """The fields."""
        t = self.view.t
        self.frame.set_visibility(False)
        with ui.element("form").classes("fields").props("novalidate").mark("level-fields") as form:
            form.on("submit.prevent", self._submit)
            kinds = {kind: t(f"target_{kind}") for kind in KINDS}
            self._kind = ui.select(kinds, value="group", label=t("target_kind"), on_change=self._offer).mark("kind")
            self._which = ui.select({}, label=t("which"), with_input=True).mark("which")
            self._lamp = ui.input(t("which"), placeholder=t("find_lamp_hint")).mark("which-lamp")
            self._level = ui.number(t("level"), value=100, min=0, max=100, step=5, suffix="%").mark("level")
            self._until = ui.input(t("until_when")).props("type=datetime-local stack-label").mark("until")
            self._reason = ui.input(t("reason"), placeholder=t("reason_hint")).props("maxlength=500").mark("reason")
            self._error = ui.label().classes("form-error").props('role="alert"')
            self._button = ui.button(t("submit")).props("unelevated no-caps type=submit").mark("submit")
        for element in (self._kind, self._which, self._lamp, self._level, self._until, self._reason):
            element.props("outlined dense")
        self._offer()

    def show(self) -> None:
        """Offers what there is to set."""
        allowed, inventory = self.view.town.may_override, self.view.town.inventory
        may = allowed.value is True or (allowed.value is None and allowed.problem is not None)
        self.frame.set_visibility(may and inventory.value is not None)
        self._offer()

    def tick(self) -> None:
        """Shows what is new, and keeps the proposed end ahead of now for as long as nobody has typed another one."""
        super().tick()
        proposed = self._instant(self._proposed) if self._proposed else None
        now = self.view.town.clock.now()
        if self._until.value == self._proposed and (proposed is None or proposed - now < self._lasting() / 2):
            self._proposed = self._local(self._proposed_end())
            self._until.set_value(self._proposed)

    def for_lamp(self, lamp: Lamp) -> None:
        """Prepares the form for one lamp."""
        self._kind.set_value("lamp")
        self._lamp.set_value(lamp.id)
        self._level.run_method("focus")

    def _offer(self) -> None:
        kind = self._kind.value
        options = target_options(self.view, kind)
        if options != self._which.options:
            kept = self._which.value if self._which.value in options else next(iter(options), None)
            self._which.set_options(options, value=kept)
        self._which.set_visibility(kind in ("group", "cabinet"))
        self._lamp.set_visibility(kind == "lamp")

    async def _submit(self) -> None:
        self._clear_errors()
        wanted = self._read()
        if wanted is None:
            return
        targets, level_permille, expires_at, reason = wanted
        # The same wish again, after no answer, is the same request: the server makes one override of it.
        request_id = self._requests.of(wanted)
        self._button.disable()
        try:
            made = await self.view.town.set_level(targets, level_permille, expires_at, reason, request_id)
        except LichtbuchError as error:
            CHANGES.labels("override", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            self._show_error(error)
        else:
            CHANGES.labels("override", "ok").inc()
            self._requests.answered()
            view = self.view
            text = view.t(
                "level_set",
                targets=targets_text(view, made.targets),
                level=view.formats.percent(made.level_permille),
                until=view.t("until", time=view.formats.date_and_time(made.expires_at)),
            )
            ui.notify(text, type="positive", multi_line=True)
            self._reason.set_value("")
        finally:
            self._button.enable()
        self._on_done()

    def _read(self) -> tuple[Any, ...] | None:
        """What the fields say; None where something is missing, which is then said at the field."""
        t, fine = self.view.t, True
        targets = self._targets()
        if targets is None:
            self._at("which", t("error_lamp") if (self._lamp.value or "").strip() else t("error_required"))
            fine = False
        level = permille_of(self._level.value)
        if level is None:
            self._at("level", t("error_level"))
            fine = False
        until = self._instant(str(self._until.value or ""))
        if until is None:
            self._at("until", t("error_until", example=self._local(self._proposed_end()).replace("T", " ")))
            fine = False
        reason = (self._reason.value or "").strip()
        if not reason:
            self._at("reason", t("error_required"))
            fine = False
        return (targets, level, until, reason) if fine else None

    def _targets(self) -> tuple[str, ...] | None:
        kind = self._kind.value
        if kind == "town":
            return (self.view.town.name,)
        if kind == "lamp":
            lamps = tuple(self.view.town.table.lamps)
            rows = find_lamps(lamps, self._lamp.value or "")
            return (lamps[rows[0]].name,) if len(rows) == 1 else None
        return (self._which.value,) if self._which.value else None

    def _show_error(self, error: LichtbuchError) -> None:
        violations = error.violations if isinstance(error, InvalidInput | FailedPrecondition) else ()
        elsewhere = []
        for violation in violations:
            last = violation.field.rsplit(".", 1)[-1].split("[", 1)[0]
            if last in _FIELDS:
                self._at(_FIELDS[last], violation.reason)
            else:
                elsewhere.append(str(violation))
        if not violations:
            elsewhere.append(self.view.refusal(error, "lighting"))
        self._error.set_text(" ".join(elsewhere))

    def _at(self, field: str, reason: str) -> None:
        """Says what is wrong at a field."""
        if field == "which":
            element: Any = self._lamp if self._kind.value == "lamp" else self._which
            if self._kind.value == "town":
                self._error.set_text(reason)
                return
        else:
            element = {"level": self._level, "until": self._until, "reason": self._reason}[field]
        element.error = reason

    def _clear_errors(self) -> None:
        for element in (self._which, self._lamp, self._level, self._until, self._reason):
            element.error = None
        self._error.set_text("")

    def _lasting(self) -> timedelta:
        return max(timedelta(hours=1), LEAST_REAL * min(self.view.town.clock.speed, MAX_SPEED))

    def _proposed_end(self) -> datetime:
        return ceil_slot(self.view.town.clock.now() + self._lasting())

    def _local(self, instant: datetime) -> str:
        return f"{self.view.formats.local(instant):%Y-%m-%dT%H:%M}"

    def _instant(self, text: str) -> datetime | None:
        return instant_of(text, self.view.town.tz)
