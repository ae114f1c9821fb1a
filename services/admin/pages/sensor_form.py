"""The form that creates a sensor, or changes one. The server judges what is entered, its answer stands at the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Final

from nicegui import ui

from domain.errors import LichtbuchError, RetryableError
from lichtbuch.lighting.v1 import sensors_pb2
from lichtbuch.type.v1 import types_pb2
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.fields import clear_errors, group_options, may, show_error
from services.admin.pages.view import Card, View, rich
from services.admin.request_ids import RequestIds
from services.admin.sensors import KINDS, SensorNow

USUAL_MAX_AGE_S: Final = 600
LEAST_MAX_AGE_S: Final = 10


class SensorForm(Card):
    """The form. Hidden from who may not change sensors, as far as that is known. `on_done` is called after a change."""

    def __init__(self, view: View, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._sensor: SensorNow | None = None
        self._requests = RequestIds()
        super().__init__(view, "new_sensor", view.town.may_edit_sensors, view.town.inventory, mark="sensor-form")

    def build(self) -> None:
        """The fields."""
        t = self.view.t
        self.frame.set_visibility(False)
        with ui.element("form").classes("fields").props("novalidate").mark("sensor-fields") as form:
            form.on("submit.prevent", self._submit)
            self._title = rich("h3", "", "across")
            self._id = ui.input(t("sensor_id"), placeholder=t("sensor_id_hint")).props("maxlength=63")
            self._id.mark("sensor-id")
            self._name = ui.input(t("sensor_name")).props("maxlength=200").mark("sensor-name")
            kinds = {int(kind): t(f"sensor_kind_{int(kind)}") for kind in KINDS}
            self._kind = ui.select(kinds, value=int(KINDS[0]), label=t("sensor_kind")).mark("sensor-kind")
            self._age = ui.number(
                t("sensor_max_age_s"), value=USUAL_MAX_AGE_S, min=LEAST_MAX_AGE_S, max=86_400, step=60
            )
            self._age.mark("sensor-max-age")
            self._groups = ui.select({}, label=t("sensor_groups"), multiple=True, value=[]).classes("across")
            self._groups.props["hint"] = t("sensor_groups_hint")
            self._groups.props("use-chips").mark("sensor-groups")
            self._endpoint = ui.input(t("sensor_endpoint")).mark("sensor-endpoint")
            self._endpoint.props["hint"] = t("sensor_endpoint_hint")
            self._point = ui.input(t("sensor_point")).mark("sensor-point")
            self._error = ui.label().classes("form-error").props('role="alert"')
            self._button = ui.button(t("save")).props("unelevated no-caps type=submit").mark("sensor-save")
            self._anew = ui.button(t("start_anew"), on_click=self.start_anew).props("flat no-caps type=button")
            self._anew.mark("sensor-anew")
        self._fields: Mapping[str, Any] = {
            "sensor_id": self._id,
            "display_name": self._name,
            "kind": self._kind,
            "groups": self._groups,
            "endpoint": self._endpoint,
            "point": self._point,
            "max_age_s": self._age,
        }
        for element in self._fields.values():
            element.props("outlined dense")
        self.start_anew()

    def show(self) -> None:
        """Offers what there is."""
        known = self.view.town.inventory.value is not None
        self.frame.set_visibility(may(self.view.town.may_edit_sensors) and known)
        options = group_options(self.view)
        if options != self._groups.options:
            self._groups.set_options(options, value=[each for each in self._groups.value or () if each in options])

    def note(self) -> str:
        """What is offered may be old; the list beside the form says so."""
        return ""

    def start_anew(self) -> None:
        """Empties the form: the next one is a new sensor."""
        self._sensor = None
        self._fill("", "", int(KINDS[0]), (), "", "", USUAL_MAX_AGE_S)

    def edit(self, sensor: SensorNow) -> None:
        """Fills the form with a sensor."""
        self._sensor = sensor
        self._fill(
            id_of(sensor.name), sensor.display_name, sensor.kind, sensor.groups, id_of(sensor.endpoint), sensor.point,
            sensor.max_age_s,
        )  # fmt: skip
        self._name.run_method("focus")

    def _fill(
        self, identity: str, name: str, kind: int, groups: tuple[str, ...], endpoint: str, point: str, max_age_s: int
    ) -> None:
        t = self.view.t
        clear_errors(self._fields, self._error)
        self._title.set_content(escape(t("change_sensor", id=identity) if identity else t("new_sensor")))
        self._title.set_visibility(bool(identity))
        self._id.set_value(identity)
        self._id.set_visibility(self._sensor is None)
        self._anew.set_visibility(self._sensor is not None)
        self._name.set_value(name)
        self._kind.set_value(kind if kind in self._kind.options else int(KINDS[0]))
        self._groups.set_value([each for each in groups if each in self._groups.options])
        self._endpoint.set_value(endpoint)
        self._point.set_value(point)
        self._age.set_value(max_age_s)

    async def _submit(self) -> None:
        clear_errors(self._fields, self._error)
        wanted = self._read()
        if wanted is None:
            return
        identity = "" if self._sensor else (self._id.value or "").strip()
        # The same wish again, after no answer, is the same request: the server makes one sensor of it.
        request_id = self._requests.of(identity.encode() + wanted.SerializeToString(deterministic=True))
        self._button.disable()
        town = self.view.town
        try:
            await town.planning.save_sensor(wanted, identity, request_id)
        except LichtbuchError as error:
            CHANGES.labels("sensor", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            show_error(self.view, error, "lighting", self._fields, self._error)
        else:
            CHANGES.labels("sensor", "ok").inc()
            self._requests.answered()
            ui.notify(self.view.t("saved_done"), type="positive")
            self.start_anew()
            await town.sensors.refresh_anew()
        finally:
            self._button.enable()
        self._on_done()

    def _read(self) -> sensors_pb2.Sensor | None:
        """What the fields say; None where something is wrong, which is then said at the field."""
        t, town = self.view.t, self.view.town
        age = self._age.value
        if age is None or age != age or not LEAST_MAX_AGE_S <= age < 1e9:
            self._age.error = t("error_number", least=LEAST_MAX_AGE_S)
            return None
        endpoint = (self._endpoint.value or "").strip()
        return sensors_pb2.Sensor(
            name=self._sensor.name if self._sensor else "",
            etag=self._sensor.etag if self._sensor else "",
            display_name=(self._name.value or "").strip(),
            kind=types_pb2.SensorKind.ValueType(self._kind.value),
            groups=list(self._groups.value or ()),
            endpoint=f"{town.name}/endpoints/{endpoint}" if endpoint else "",
            point=(self._point.value or "").strip() if endpoint else "",
            max_age_s=int(age),
        )
