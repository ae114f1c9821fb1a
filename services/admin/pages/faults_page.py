"""The page of faults of one municipality: the list of work, street by street, and the form to report one by hand."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.faults_card import FaultsCard
from services.admin.pages.live_page import LivePage
from services.admin.pages.report_form import ReportForm
from services.admin.pages.view import Card

PATH: Final = "/faults"


class FaultsPage(LivePage):
    """One open page."""

    path = PATH
    title = "fault_page"

    def build(self) -> tuple[Card, ...]:
        """The list, and the form beside it."""
        with ui.element("main").classes("grid work").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first"):
                faults = FaultsCard(self.view)
            with ui.element("div").classes("lane second"):
                report = ReportForm(self.view)
        return faults, report


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: FaultsPage(session, municipality, language, simulated=simulated),
        PATH,
        "faults",
    )
