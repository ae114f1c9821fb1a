"""The page that says what a profile would bring, before anybody sees it on the street; and saves it after that."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.preview_card import PreviewCard
from services.admin.pages.preview_form import PreviewForm
from services.admin.pages.view import Card

PATH: Final = "/preview"


class PreviewPage(LivePage):
    """One open page. ?profile=ID in its address chooses a profile."""

    path = PATH
    title = "preview_page"

    def build(self) -> tuple[Card, ...]:
        """The form, and the outlook beside it."""
        request = ui.context.client.request
        chosen = request.query_params.get("profile", "")
        with ui.element("main").classes("grid asked").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane second"):
                form = PreviewForm(self.view, chosen)
            with ui.element("div").classes("lane first"):
                card = PreviewCard(self.view)
        form.shows(card)
        return form, card


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: PreviewPage(session, municipality, language, simulated=simulated),
        PATH,
        "preview",
    )
