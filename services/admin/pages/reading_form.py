"""A reading by hand: which meter, what it shows, when; what speaks against it is said at once and has to be confirmed.

The same reading twice is one: a double tap, or a second try after no answer, stores nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final

from nicegui import background_tasks, ui

from domain.errors import LichtbuchError
from lichtbuch.metering.v1 import metering_pb2
from services.admin.feed import problem_of
from services.admin.meters import MeterItem, chosen
from services.admin.metrics import CHANGES
from services.admin.pages.fields import instant_of
from services.admin.pages.meters_card import meter_label
from services.admin.pages.view import Card, View, rich
from services.admin.quantities import (
    amount_text,
    digits_before,
    digits_of,
    faces_of,
    on_face,
    parsed,
    stored_value,
)
from services.admin.readings import Doubt, Reading, Trial, all_doubts, since_last

MOST_OFFERED: Final = 12
AHEAD: Final = timedelta(minutes=5)
"""Clocks of phones may be a little fast."""
KNOWN_RULES: Final = (
    "time", "gap", "negative_step", "small_step_back", "spike", "stuck", "zero", "unit_break", "sum_check", "digits",
    "overlap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be stored."""

    meter: MeterItem
    at: datetime
    value: int


class ReadingForm(Card):
    """The form."""

    def __init__(self, view: View, chosen_id: str) -> None:
        self._wanted_id = chosen_id
        self._meter: MeterItem | None = None
        self._last: Reading | None = None
        self._last_before: datetime | None = None
        self._tried: tuple[_Wish, Trial] | None = None
        self._doubted = frozenset[str]()
        """What was said against the reading that was tried last: that much is confirmed, and no more."""
        self._check_number = 0
        self._is_busy = False
        super().__init__(view, "reading_new", view.town.meter_list, view.town.may_read_in, mark="reading-form")

    def note(self) -> str:
        """The list of meters may be old; that harms nobody here."""
        return ""

    def build(self) -> None:
        """The choice of a meter, and the form for the chosen one."""
        t = self.view.t
        self._sentence = ui.label().classes("quiet").props('role="status"').mark("reading-state")
        self._done = ui.label().classes("good-news").props('role="status"').mark("reading-done")
        self._done.set_visibility(False)
        with ui.element("div").classes("big-fields") as self._choice:
            self._search = ui.input(t("reading_search"), placeholder=t("reading_search_hint"), on_change=self._offer)
            self._search.props("outlined debounce=200 clearable").mark("reading-search")
            self._offered = ui.element("div").classes("offered")
            self._more = ui.label().classes("quiet")
        with ui.element("form").classes("big-fields").props("novalidate").mark("reading-fields") as self._form:
            self._form.on("submit.prevent", self._submit)
            self._title = rich("h3", "", "meter-title").mark("reading-meter")
            self._what = rich("p", "", "quiet")
            self._other = ui.button(t("reading_other"), on_click=self._choose_other).mark("reading-other")
            self._other.props("outline no-caps type=button")
            self._before = rich("p", "", "last-reading").mark("reading-last")
            with ui.element("div").classes("counter"):
                self._value = ui.input(t("reading_value"), on_change=self._check).mark("reading-value")
                self._value.props("outlined debounce=400 inputmode=decimal autocomplete=off").classes("figures")
                self._face = ui.select({0: ""}, value=0, label=t("unit"), on_change=self._check).props("outlined")
                self._face.mark("reading-unit")
            with ui.element("div").classes("counter"):
                self._at = ui.input(t("reading_at"), on_change=self._check).mark("reading-at")
                self._at.props("outlined type=datetime-local stack-label debounce=400")
                self._now = ui.button(t("reading_now"), on_click=self._set_now).props("outline no-caps type=button")
                self._now.mark("reading-now")
            self._verdict = rich("div", "", "plausible").props('role="status"').mark("reading-verdict")
            self._sure = ui.checkbox(t("reading_sure")).mark("reading-sure")
            self._error = ui.label().classes("form-error").props('role="alert"').mark("reading-error")
            self._button = ui.button(t("save")).props("unelevated no-caps type=submit").mark("reading-save")
        self._form.set_visibility(False)
        self._choice.set_visibility(False)

    def show(self) -> None:
        """Offers what there is to whom it may be offered."""
        t, town, meters = self.view.t, self.view.town, self.view.town.meter_list
        denied = town.may_read_in.value is False
        if meters.value is None or denied or not meters.value:
            words = t("error_denied") if denied else t("meters_none")
            self._sentence.set_text(self.instead(meters) if meters.value is None and not denied else words)
            self._sentence.set_visibility(True)
            self._choice.set_visibility(False)
            self._form.set_visibility(False)
            return
        self._sentence.set_visibility(False)
        if self._meter is None and self._wanted_id:
            wanted, self._wanted_id = self._wanted_id, ""
            found = next((each for each in meters.value if each.id == wanted and each.is_readable), None)
            if found is not None:
                self._choose(found)
        if self._meter is None:
            self._choice.set_visibility(True)
            self._offer()

    # --- which meter ---------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        """Meters that fit what was typed, as large buttons."""
        view, t = self.view, self.view.t
        every = [each for each in view.town.meter_list.value or () if each.is_readable]
        text = (self._search.value or "").strip()
        found = chosen(every, text=text)
        self._offered.clear()
        with self._offered:
            for meter in found[:MOST_OFFERED]:
                button = ui.button(on_click=lambda meter=meter: self._choose(meter), color=None).mark("offered")
                button.props("flat no-caps align=left type=button").classes("offer")
                with button:
                    serial = t("meter_serial_short", number=meter.serial_number) if meter.serial_number else ""
                    told = (meter.id, meter.place, serial, t(f"medium_{meter.medium}"), meter.obis_code)
                    small = " · ".join(part for part in told if part)
                    rich("span", f"{escape(meter.display_name)}<small>{escape(small)}</small>", "offer-text")
        left = len(found) - MOST_OFFERED
        words = (
            t("reading_fits_none")
            if not found
            else t("reading_fits_more", count=view.formats.number(left))
            if left > 0
            else ""
        )
        self._more.set_text(words)
        self._more.set_visibility(bool(words))

    def _choose_other(self) -> None:
        self._meter = None
        self._form.set_visibility(False)
        self._choice.set_visibility(True)
        self._done.set_visibility(False)
        self._offer()

    async def _load_last(self, meter: MeterItem, at: datetime) -> None:
        last, problem = None, None
        try:
            last = await self.view.town.metering.last_reading(meter, at)
        except LichtbuchError as error:
            problem = error
        if self._meter is not meter or at != instant_of(self._at.value, self.view.town.tz):
            return  # a later answer counts
        if problem is not None:
            # What was before another time says nothing about this one.
            self._last = self._last_before = None
            self._before.set_content(escape(self.view.refusal(problem, "metering")))
            return
        self._last, self._last_before = last, at
        self._show_last()

    def _choose(self, meter: MeterItem) -> None:
        t = self.view.t
        self._meter, self._last, self._last_before, self._tried = meter, None, None, None
        self._check_number += 1  # what is asked about another meter is not said of this one
        self._choice.set_visibility(False)
        self._form.set_visibility(True)
        self._done.set_visibility(False)
        self._title.set_content(escape(meter.display_name))
        self._what.set_content(escape(meter_label(self.view, meter)))
        faces = faces_of(meter.unit, meter.medium)
        self._face.set_options({place: face.symbol or t("nothing") for place, face in enumerate(faces)}, value=0)
        self._face.set_visibility(bool(faces[0].symbol))
        self._value.set_value("")
        self._value.error = None
        self._value.props["hint"] = self._digits(meter)
        self._verdict.set_content("")
        self._sure.set_value(False)
        self._sure.set_visibility(False)
        self._error.set_text("")
        self._before.set_content(escape(t("loading")))
        self._set_now()
        # Within the minute of the meter before it no field changes, and nothing else would ask.
        background_tasks.create(self._check(), name="look at a reading")
        self._value.run_method("focus")

    def _digits(self, meter: MeterItem) -> str:
        """How many figures to expect."""
        t, number = self.view.t, self.view.formats.number
        scale = faces_of(meter.unit, meter.medium)[0]
        before = digits_before(meter.rollover, meter.transformer_ratio, scale, meter.scale_exponent)
        after = number(min(3, digits_of(scale, meter.scale_exponent)))
        if not before:
            return t("reading_digits_after", after=after)
        return t("reading_digits", before=number(before), after=after)

    def _show_last(self) -> None:
        meter, last, t, formats = self._meter, self._last, self.view.t, self.view.formats
        if meter is None:
            return
        if last is None:
            self._before.set_content(escape(t("reading_first")))
            return
        age = formats.span(int((self.view.town.clock.now() - last.slot).total_seconds()))
        words = t("reading_last", time=formats.zoned(last.slot), age=age)
        self._before.set_content(f"{escape(words)}<strong>{escape(self._face_text(meter, last.value))}</strong>")

    def _face_text(self, meter: MeterItem, value: int) -> str:
        """A stored value as it stands on the meter itself."""
        scale = faces_of(meter.unit, meter.medium)[0]
        face = on_face(value, scale, meter.scale_exponent, meter.transformer_ratio)
        digits = min(3, digits_of(scale, meter.scale_exponent))
        text = self.view.formats.number(face, digits)
        return f"{text} {scale.symbol}".strip()

    def _set_now(self) -> None:
        now = self.view.formats.local(self.view.town.clock.now()).strftime("%Y-%m-%dT%H:%M")
        self._at.set_value(now)

    # --- what it shows -------------------------------------------------------------------------------------------

    def _read(self, *, strictly: bool) -> _Wish | None:
        """What the fields say. strictly: what is wrong or missing is said at the field."""
        meter, t, town = self._meter, self.view.t, self.view.town
        if meter is None:
            return None
        at = instant_of(self._at.value, town.tz)
        text = (self._value.value or "").strip()
        scale = faces_of(meter.unit, meter.medium)[self._face.value or 0]
        shown = parsed(text, t.language) if text else None
        value = stored_value(shown, scale, meter.scale_exponent, meter.transformer_ratio) if shown is not None else None
        self._at.error = self._value.error = None
        if at is None:
            self._at.error = t("error_required")
        elif at > town.clock.now() + AHEAD:
            self._at.error = t("error_future")
            at = None
        counts = meter.kind == metering_pb2.READING_KIND_COUNTER
        if not text:
            if strictly:
                self._value.error = t("error_required")
        elif value is None or (counts and value < 0):
            self._value.error = t(
                "error_counter", digits=self.view.formats.number(digits_of(scale, meter.scale_exponent))
            )
            value = None
        elif meter.rollover and value >= meter.rollover:
            self._value.error = t("error_digits")
            value = None
        return None if at is None or value is None else _Wish(meter, at, value)

    async def _check(self) -> None:
        """Says at once what the service would say; an older answer does not overtake a newer one."""
        if self._meter is None:
            return
        self._check_number = number = self._check_number + 1
        self._error.set_text("")
        at = instant_of(self._at.value, self.view.town.tz)
        if at is not None and at != self._last_before:
            await self._load_last(self._meter, at)
            if number != self._check_number:
                return  # what stands there by now is of a newer one
        wish = self._read(strictly=False)
        self._verdict.set_content("")
        self._sure.set_visibility(False)
        if wish is None:
            return
        try:
            trial = await self.view.town.metering.bring(wish.meter, wish.at, wish.value, dry_run=True)
        except LichtbuchError as error:
            if number == self._check_number:
                self._error.set_text(self.view.refusal(error, "metering"))
            return
        if number == self._check_number:
            self._judge(wish, trial)

    def _judge(self, wish: _Wish, trial: Trial) -> tuple[Doubt, ...]:
        """Shows what speaks for and against a reading. Returns the doubts."""
        t, formats, meter = self.view.t, self.view.formats, wish.meter
        doubts = all_doubts(meter, self._last, wish.value, trial)
        doubted = frozenset(doubt_text(self.view, doubt) for doubt in doubts)
        if self._tried is None or self._tried[0] != wish or not doubted <= self._doubted:
            self._sure.set_value(False)
        self._tried, self._doubted = (wish, trial), doubted
        lines = []
        step = since_last(meter, self._last, wish.value, wish.at)
        if step is not None:
            exponent = meter.scale_exponent
            amount = amount_text(formats, step.amount, meter.unit, meter.medium, exponent)
            words = t("reading_since", amount=amount, span=formats.span(step.seconds))
            if step.per_day is not None and step.amount >= 0:
                each = amount_text(formats, step.per_day, meter.unit, meter.medium, exponent)
                words += " " + t("reading_per_day", amount=each)
            lines.append(words)
        wrong = [t("reading_refused", reason=self.view.told(reason)) for reason in trial.refusals]
        wrong += [doubt_text(self.view, doubt) for doubt in doubts]
        if not wrong:
            lines.append(t("reading_known") if trial.is_stored else t("reading_plausible"))
        dress = "refused" if trial.refusals else "doubted" if doubts else "fine"
        parts = [f'<p class="bad">{escape(each)}</p>' for each in wrong] + [f"<p>{escape(each)}</p>" for each in lines]
        self._verdict.set_content(f'<div class="verdict-box {dress}">{"".join(parts)}</div>')
        self._sure.set_visibility(bool(doubts) and not trial.refusals)
        return doubts

    async def _submit(self) -> None:
        if self._is_busy:
            return  # the second tap of two
        self._is_busy = True
        self._button.disable()
        try:
            await self._store()
        finally:
            self._is_busy = False
            self._button.enable()

    async def _store(self) -> None:
        t, metering = self.view.t, self.view.town.metering
        self._error.set_text("")
        wish = self._read(strictly=True)
        if wish is None:
            return
        self._check_number += 1
        try:
            tried = self._tried
            # What was refused may be taken by now.
            if tried is not None and tried[0] == wish and not tried[1].refusals:
                trial = tried[1]
            else:
                trial = await metering.bring(wish.meter, wish.at, wish.value, dry_run=True)
            if self._is_about(wish) and wish.at != self._last_before:
                await self._load_last(wish.meter, wish.at)
            if not self._is_about(wish):
                if self._meter is not wish.meter:  # else it still stands there to be saved
                    self._notify(f"{t('reading_not_stored')} {self._in_words(wish)}")
                return
            # Said anew: what was before may have been told since, and what is to be confirmed has to stand there.
            doubts = self._judge(wish, trial)
            if trial.refusals:
                return
            if doubts and not self._sure.value:
                self._error.set_text(t("reading_confirm"))
                return
            stored = await metering.bring(wish.meter, wish.at, wish.value, dry_run=False)
        except LichtbuchError as error:
            CHANGES.labels("hand reading", problem_of(error).value).inc()
            words = self.view.refusal(error, "metering")
            if self._is_about(wish):
                self._error.set_text(words)
            else:
                self._notify(f"{self._in_words(wish)}: {words}")
            return
        if stored.refusals:
            CHANGES.labels("hand reading", "failed").inc()
            if self._is_about(wish):
                self._judge(wish, stored)
            else:
                words = " ".join(t("reading_refused", reason=self.view.told(reason)) for reason in stored.refusals)
                self._notify(f"{self._in_words(wish)}: {words}")
            return
        CHANGES.labels("hand reading", "ok").inc()
        if self._is_about(wish):
            self._choose_other()
        words = t("reading_known_already") if stored.is_stored else t("reading_stored")
        self._done.set_text(f"{words} {self._in_words(wish)}")
        self._done.set_visibility(True)
        meters = self.view.town.meter_list
        await meters.refresh_anew()
        if self._meter is wish.meter:
            # What stands there by now is another reading of this meter, which has a newer last one.
            self._meter = next((each for each in meters.value or () if each.id == wish.meter.id), wish.meter)
            self._tried = self._last_before = None
            background_tasks.create(self._check(), name="look at a reading")

    def _is_about(self, wish: _Wish) -> bool:
        """The fields still say what was to be stored: who waits for an answer can go on to something else."""
        return self._read(strictly=False) == wish

    def _in_words(self, wish: _Wish) -> str:
        when = self.view.formats.zoned(wish.at)
        return f"{wish.meter.display_name}: {self._face_text(wish.meter, wish.value)}, {when}"

    def _notify(self, words: str) -> None:
        """Tells what became of a reading that the form is no longer about."""
        ui.notify(words, type="negative", multi_line=True, timeout=8_000)


def doubt_text(view: View, doubt: Doubt) -> str:
    """What speaks against a reading, in words; what has none here, as the service says it."""
    return view.t(f"doubt_{doubt.rule}") if doubt.rule in KNOWN_RULES else view.told(doubt.detail) or doubt.rule
