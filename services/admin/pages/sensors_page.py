"""The page of sensors of one municipality: what they say, who listens, and the form to create or change one."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.sensor_form import SensorForm
from services.admin.pages.sensors_card import SensorsCard
from services.admin.pages.view import Card
from services.admin.sensors import SensorNow

PATH: Final = "/sensors"


class SensorsPage(LivePage):
    """One open page."""

    path = PATH
    title = "sensor_page"

    def build(self) -> tuple[Card, ...]:
        """The list, and the form beside it."""
        with ui.element("main").classes("grid work").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first"):
                self.list = SensorsCard(self.view, self._edit)
            with ui.element("div").classes("lane second"):
                self.form = SensorForm(self.view, self.list.tick)
        return self.list, self.form

    def _edit(self, sensor: SensorNow) -> None:
        self.form.edit(sensor)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: SensorsPage(session, municipality, language, simulated=simulated),
        PATH,
        "sensors",
    )
