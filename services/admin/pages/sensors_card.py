"""The sensors of the town: what each said last and how long ago, which groups it serves, which rules listen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from math import isfinite
from typing import Any

from nicegui import ui

from domain.errors import LichtbuchError
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.fields import clear_errors, group_options, show_error
from services.admin.pages.view import Card, View, rich
from services.admin.sensors import SensorNow, SensorUse, used_by


class SensorsCard(Card):
    """The list. `on_edit` is called with a sensor that somebody wants to change."""

    def __init__(self, view: View, on_edit: Callable[[SensorNow], None]) -> None:
        self._on_edit = on_edit
        self._shape: Any = None
        self._values: dict[str, Any] = {}
        town = view.town
        super().__init__(
            view, "sensors", town.sensors, town.sensor_uses, town.inventory, town.may_edit_sensors, town.may_report,
            mark="sensors",
        )  # fmt: skip

    def build(self) -> None:
        """A warning, a sentence, and the list."""
        self._warning = ui.label().classes("notice").props('role="status"').mark("sensors-stale")
        self._warning.set_visibility(False)
        self._sentence = ui.label().classes("quiet")
        self._list = ui.element("ul").classes("faults")

    def note(self) -> str:
        """Only the values may be old."""
        return self.view.stale_since(self.view.town.sensors)

    def tick(self) -> None:
        """Shows what is new; ages grow with every look."""
        super().tick()
        for sensor in self.view.town.sensors.value or ():
            if sensor.name in self._values:
                self._values[sensor.name].set_content(self._value_html(sensor))

    def show(self) -> None:
        """The sensors. Their elements stay while only values change: who is at a button stays there."""
        view, t, town = self.view, self.view.t, self.view.town
        sensors = town.sensors.value
        stale = sum(1 for sensor in sensors or () if not sensor.fresh)
        self._warning.set_text(t("sensors_stale", count=view.formats.number(stale)))
        self._warning.set_visibility(stale > 0)
        uses = town.sensor_uses
        if sensors is None:
            self._sentence.set_text(self.instead(town.sensors))
        elif not sensors:
            self._sentence.set_text(t("no_sensors"))
        else:
            missing = view.problem(uses) if uses.value is None else ""
            self._sentence.set_text(
                " ".join(filter(None, (t("zone_note", zone=view.formats.zone_name(town.clock.now())), missing)))
            )
        still = tuple(
            replace(sensor, value=None, observed_at=None, age_s=0, fresh=False, active_groups=())
            for sensor in sensors or ()
        )
        shape = (still, uses.value, group_options(view), town.may_edit_sensors.value, town.may_report.value)
        if shape == self._shape:
            return
        self._shape = shape
        self._list.clear()
        self._values = {}
        with self._list:
            for sensor in sensors or ():
                self._item(sensor)

    def _item(self, sensor: SensorNow) -> None:
        view, t, town = self.view, self.view.t, self.view.town
        names = group_options(view)
        groups = view.formats.listed([names.get(name, id_of(name)) for name in sensor.groups])
        source = t("sensor_sent")
        if not sensor.is_sent:
            source = t("sensor_read", endpoint=id_of(sensor.endpoint), point=sensor.point)
        good_for = t("sensor_max_age", age=view.formats.span(sensor.max_age_s))
        rows = [
            (t("sensor_groups"), groups or t("sensor_all_groups")),
            (t("sensor_source"), f"{source}, {good_for}"),
            (t("sensor_rules"), self._rules(sensor)),
        ]
        facts = "".join(f"<dt>{escape(word)}</dt><dd>{escape(value)}</dd>" for word, value in rows)
        title = f'<p class="what"><strong>{escape(sensor.display_name)}</strong> {escape(id_of(sensor.name))}</p>'
        with ui.element("li").classes("fault is-on").mark("sensor"):
            with ui.element("div").classes("about"):
                rich("div", title)
                self._values[sensor.name] = rich("div", self._value_html(sensor))
                rich("dl", facts, "pairs")
            with ui.element("div").classes("actions"):
                if sensor.is_sent and town.may_report.value is not False:
                    self._button("sensor_report", sensor, lambda: self._ask(sensor))
                if town.may_edit_sensors.value is not False:
                    self._button("sensor_edit", sensor, lambda: self._edit(sensor.name))

    def _button(self, word: str, sensor: SensorNow, on_click: Callable[[], None]) -> None:
        t = self.view.t
        button = ui.button(t(word), on_click=on_click).mark(word.replace("_", "-"))
        button.props("outline dense no-caps").props["aria-label"] = f"{t(word)}: {sensor.display_name}"

    def _edit(self, name: str) -> None:
        """As it is now: the list is not made anew for every value."""
        for sensor in self.view.town.sensors.value or ():
            if sensor.name == name:
                self._on_edit(sensor)

    def _value_html(self, sensor: SensorNow) -> str:
        view, t = self.view, self.view.t
        kind = escape(t(f"sensor_kind_{sensor.kind}"))
        if sensor.value is None or sensor.observed_at is None:
            state = f'<span class="badge stale">{escape(t("sensor_never"))}</span>'
            return f'<p class="reading">{kind} {state}</p>'
        age_s = int((view.town.clock.now() - sensor.observed_at).total_seconds())
        said = t("sensor_age", age=view.formats.span(age_s), time=view.formats.zoned(sensor.observed_at))
        word, dress = ("sensor_fresh", "good") if sensor.fresh else ("sensor_stale", "stale")
        html = (
            f'<p class="reading">{kind} <strong>{escape(value_text(view, sensor))}</strong> '
            f'<span class="badge {dress}">{escape(t(word))}</span> <span class="quiet">{escape(said)}</span></p>'
        )
        if sensor.active_groups:
            names = group_options(view)
            groups = view.formats.listed([names.get(name, id_of(name)) for name in sensor.active_groups])
            html += f'<p class="reading">{escape(t("sensor_active", groups=groups))}</p>'
        return html

    def _rules(self, sensor: SensorNow) -> str:
        uses = self.view.town.sensor_uses
        if uses.value is None:
            return self.instead(uses)
        found = used_by(sensor, uses.value)
        return "; ".join(rule_text(self.view, use) for use in found) or self.view.t("sensor_no_rules")

    def _ask(self, sensor: SensorNow) -> None:
        """The value that somebody enters."""
        t = self.view.t
        # In the card, not in the list: that is made anew whenever something changes.
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("sensor_report_title")))
            ui.label(f"{sensor.display_name}: {t(f'sensor_kind_{sensor.kind}')}")
            value = ui.number(t("sensor_report_value"), min=0, suffix=t(f"sensor_unit_{sensor.kind}"))
            value.props("outlined dense").classes("wide").mark("sensor-value")
            error = ui.label().classes("form-error").props('role="alert"')

            async def enter() -> None:
                clear_errors({"values": value}, error)
                if value.value is None or not isfinite(value.value):
                    value.error = t("error_number", least=0)
                    return
                if await self._report(sensor, float(value.value), value, error):
                    dialog.close()

            value.on("keydown.enter", enter)
            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                ui.button(t("sensor_report"), on_click=enter).props("unelevated no-caps").mark("sensor-report-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _report(self, sensor: SensorNow, value: float, field: Any, elsewhere: ui.label) -> bool:
        town, t = self.view.town, self.view.t
        try:
            taken = await town.planning.report_value(sensor.name, value)
        except LichtbuchError as error:
            CHANGES.labels("sensor_value", problem_of(error).value).inc()
            show_error(self.view, error, "lighting", {"values": field}, elsewhere)
            return False
        CHANGES.labels("sensor_value", "ok").inc()
        ui.notify(t("sensor_report_done" if taken else "sensor_report_old"), type="positive" if taken else "warning")
        await town.sensors.refresh_anew()
        self.tick()
        return True


def value_text(view: View, sensor: SensorNow) -> str:
    """A sensor's last value with its unit."""
    if sensor.value is None:
        return view.t("nothing")
    digits = 0 if abs(sensor.value) >= 100 or sensor.value == int(sensor.value) else 1
    return f"{view.formats.number(sensor.value, digits)} {view.t(f'sensor_unit_{sensor.kind}')}".strip()


def rule_text(view: View, use: SensorUse) -> str:
    """A profile's rules that listen."""
    key = "sensor_rule" if use.groups else "sensor_rule_unused"
    return view.t(key, profile=use.profile, rules=view.formats.listed([str(number) for number in use.rules]))
