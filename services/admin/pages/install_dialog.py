"""When a meter was hung up and what its registers showed then: entered late, or put right, for the whole housing.

Counters are typed as they stand on the meter: in its unit and without the transformer ratio. What the service refuses
is said at the field that it blames. Not here: exchanges, which the command enters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from nicegui import ui

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, OutOfLimits, RetryableError, Violation
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from services.admin.feed import problem_of
from services.admin.meters import MeterItem, registers
from services.admin.metrics import CHANGES
from services.admin.pages.fields import instant_of
from services.admin.pages.meter_desk import Desk
from services.admin.pages.view import rich
from services.admin.quantities import Scale, digits_of, faces_of, on_face, parsed, stored_value
from services.admin.request_ids import RequestIds
from services.admin.told import told

_MOST_DIGITS: Final = 3
_OWN: Final = "first_reading"
_LIST: Final = "registers["


@dataclass(frozen=True, slots=True)
class _Face:
    """How the first register of a meter is read: the units that may stand on it, and its numbers."""

    units: tuple[Scale, ...]
    scale_exponent: int
    ratio: int

    @classmethod
    def of(cls, meter: MeterItem) -> _Face:
        """Of the first life: an exchange since may have brought another unit, scale or transformer."""
        if not meter.lives:
            return cls(faces_of(meter.unit, meter.medium), meter.scale_exponent, meter.transformer_ratio)
        first = meter.lives[0]
        return cls(faces_of(first.unit, meter.medium), first.scale_exponent, first.transformer_ratio)


class _Counter:
    """The first counter of one register: a number and its unit."""

    def __init__(self, desk: Desk, meter: MeterItem, mark: str, whose: str = "") -> None:
        """`whose` it is stands above it: on a phone a label has room for two words."""
        self.meter, self._desk = meter, desk
        self._face = _Face.of(meter)
        t, units = desk.view.t, self._face.units
        known = meter.first_reading
        self._stood = None if known is None else (self._shown(known), known)
        if whose:
            ui.label(whose).classes("wide quiet").mark(f"{mark}-whose").props("aria-hidden=true")
        with ui.element("div").classes("wide"), ui.element("div").classes("counter"):
            self.field = ui.input(t("install_first"), value=self._stood[0] if self._stood else "").mark(mark)
            self.field.props("outlined dense inputmode=decimal autocomplete=off")
            if whose:
                self.field.props["aria-label"] = whose
            self._unit = ui.select({place: unit.symbol for place, unit in enumerate(units)}, value=0, label=t("unit"))
            self._unit.props("outlined dense").mark(f"{mark}-unit").set_visibility(bool(units[0].symbol))

    def read(self) -> int | None:
        """The counter as it is stored; None where it is none, which is then said at the field."""
        t, text, place = self._desk.view.t, (self.field.value or "").strip(), self._unit.value or 0
        if not text:
            self.field.error = t("install_first_required")
            return None
        if self._stood is not None and (text, place) == (self._stood[0], 0):
            return self._stood[1]  # as it was: what is shown may have been rounded
        unit, face = self._face.units[place], self._face
        shown = parsed(text, t.language)
        value = None if shown is None else stored_value(shown, unit, face.scale_exponent, face.ratio)
        if value is None or value < 0:
            digits = self._desk.view.formats.number(digits_of(unit, face.scale_exponent))
            self.field.error = t("error_counter", digits=digits)
            return None
        return value

    def refuse(self, reason: str) -> None:
        """Says what is wrong with it; counters are told as they stand on the meter."""
        symbol = self._face.units[0].symbol
        said = told(self._desk.view.formats, reason, lambda value: f"{self._shown(value)} {symbol}".strip())
        self.field.error = said.text

    def _shown(self, value: int) -> str:
        unit = self._face.units[0]
        digits = min(_MOST_DIGITS, digits_of(unit, self._face.scale_exponent))
        face = on_face(value, unit, self._face.scale_exponent, self._face.ratio)
        return self._desk.view.formats.number(face, digits)


class InstallDialog:
    """The dialog. It is about the housing: registers that sit in it were hung up with it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._requests = RequestIds()
        view, t, meter = desk.view, desk.view.t, desk.meter
        at = meter.installed_at
        self._stood = ("" if at is None else view.formats.local(at).strftime("%Y-%m-%dT%H:%M"), at)
        counting = metering_pb2.READING_KIND_COUNTER
        self._own: _Counter | None = None
        with ui.dialog() as self._dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("install_again" if at else "install")))
            ui.label(t("install_text")).classes("quiet")
            if len(meter.lives) > 1:
                first = meter.lives[0].serial_number
                ui.label(t("install_first_one", serial=first or t("nothing"))).classes("quiet").mark("install-which")
            self._at = ui.input(t("install_at"), value=self._stood[0]).mark("install-at")
            self._at.props("type=datetime-local stack-label outlined dense").classes("wide")
            if meter.kind == counting:
                self._own = _Counter(desk, meter, "install-first")
            self._others = [
                _Counter(desk, each, "install-register", t("install_first_of", meter=desk.called(each.name)))
                for each in registers(meter, desk.meters)
                if each.kind == counting
            ]
            self._reason = ui.input(t("reason"), placeholder=t("install_reason_hint")).mark("install-reason")
            self._reason.props("outlined dense maxlength=500").classes("wide")
            self._error = ui.label().classes("form-error").props('role="alert"').mark("install-error")
            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=self._dialog.close).props("flat no-caps")
                self._button = ui.button(t("save"), on_click=self._save).props("unelevated no-caps").mark("install-now")
        self._dialog.on("hide", self._dialog.delete)

    def open(self) -> None:
        """Shows it."""
        self._dialog.open()

    @property
    def _counters(self) -> Sequence[_Counter]:
        return [*([self._own] if self._own else []), *self._others]

    async def _save(self) -> None:
        view, town, desk = self._desk.view, self._desk.view.town, self._desk
        for field in (self._at, self._reason, *(each.field for each in self._counters)):
            field.error = None
        self._error.set_text("")
        wanted = self._read()
        if wanted is None:
            return
        wanted.request_id = self._requests.of(wanted.SerializeToString(deterministic=True))
        self._button.disable()
        try:
            await town.metering.install(wanted)
        except LichtbuchError as error:
            CHANGES.labels("installation", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            self._refuse(error)
            self._button.enable()
            return
        CHANGES.labels("installation", "ok").inc()
        ui.notify(view.t("saved_done"), type="positive")
        self._dialog.close()
        await town.meter_list.refresh_anew()
        desk.changed()

    def _read(self) -> metering_pb2.InstallMeterRequest | None:
        """What the fields say; None where something is wrong, which is then said at the field."""
        town = self._desk.view.town
        at = self._instant()
        if at is None:
            self._at.error = self._desk.view.t("error_required")
        elif at > town.clock.now():
            self._at.error = self._desk.view.t("error_future")
            at = None
        firsts = [each.read() for each in self._counters]
        if at is None or None in firsts:
            return None
        told_of = [(each, first or 0) for each, first in zip(self._counters, firsts, strict=True)]
        wanted = metering_pb2.InstallMeterRequest(
            name=self._desk.meter.name,
            installed_at=timestamp_to_proto(at),
            registers=[
                metering_pb2.RegisterInstallation(meter=each.meter.name, first_reading=first)
                for each, first in told_of
                if each is not self._own
            ],
            reason=(self._reason.value or "").strip(),
        )
        if self._own is not None:
            wanted.first_reading = told_of[0][1]
        return wanted

    def _instant(self) -> datetime | None:
        """An instant that nobody changed stays as it is, with its seconds."""
        text, at = self._stood
        return at if at is not None and self._at.value == text else instant_of(self._at.value, self._desk.view.town.tz)

    def _refuse(self, error: LichtbuchError) -> None:
        violations = error.violations if isinstance(error, InvalidInput | FailedPrecondition | OutOfLimits) else ()
        rest = [said for violation in violations if (said := self._blame(violation))]
        if not violations:
            rest.append(self._desk.view.refusal(error, "metering"))
        self._error.set_text(" ".join(rest))

    def _blame(self, violation: Violation) -> str:
        """Puts what is wrong to its field; returns what has none. A register's instant is that of all."""
        path, _, last = violation.field.rpartition(".")
        number = path.removeprefix(_LIST).rstrip("]")
        place = int(number) if path.startswith(_LIST) and number.isdecimal() else -1
        of = self._others[place] if 0 <= place < len(self._others) else None
        said = self._desk.view.told(violation.reason)
        if last == _OWN and (counter := of if path else self._own) is not None:
            counter.refuse(violation.reason)
        elif last == "installed_at":
            self._at.error = said if of is None else f"{self._desk.called(of.meter.name)}: {said}"
        elif last == "reason":
            self._reason.error = said
        else:
            return said
        return ""


def can_install(meter: MeterItem) -> bool:
    """True for what hangs somewhere by itself: sums of meters do not, and registers hang with their housing."""
    return not meter.is_virtual and not meter.device
