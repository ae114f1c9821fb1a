"""The first page: one municipality, live. Puts the parts together and brings them up to date once a second."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import quote

from fastapi import Request
from nicegui import Client, background_tasks, ui
from nicegui.language import Language

from services.admin.guard import SESSION
from services.admin.lamps import Lamp
from services.admin.metrics import CLIENTS, PAGE_LOADS, TICK_DURATION
from services.admin.pages.header import Header
from services.admin.pages.lamps_card import LampCard, LampsCard
from services.admin.pages.level_form import LevelForm
from services.admin.pages.map_card import MapCard
from services.admin.pages.overrides_card import OverridesCard
from services.admin.pages.places_cards import CabinetsCard, MetersCard
from services.admin.pages.savings_card import SavingsCard
from services.admin.pages.view import Card, View, rich
from services.admin.session import Session
from services.admin.texts import Texts

TICK_S: Final = 1.0
RECONNECT_S: Final = 30.0
"""A phone that was in a pocket for so long finds its page as it was."""
HEAD: Final = '<link rel="stylesheet" href="/static/lichtbuch.css"><script defer src="/static/session.js"></script>'
QUASAR_LANGUAGES: Final[dict[str, Language]] = {"de": "de-DE", "en": "en-GB"}


class TownPage:
    """One open page."""

    def __init__(self, session: Session, municipality: str, language: str, *, simulated: bool) -> None:
        self.session = session
        self.town = session.town(f"municipalities/{municipality}")
        self.view = view = View(self.town, Texts(language))
        self._path = f"/{language}/{municipality}"
        self._is_left = False
        self._has_entered = False
        self._offering: asyncio.Task[None] | None = None
        ui.colors(primary="#14508c", positive="#1c6b3a", negative="#b3122a")
        ui.add_head_html(HEAD)
        self.header = Header(view, session, simulated=simulated)
        with ui.element("main").classes("grid").props('id="content" tabindex="-1"'):
            with ui.element("div").classes("lane first"):
                self.map = MapCard(view, self._choose)
                self.savings = SavingsCard(view)
            with ui.element("div").classes("lane second"):
                self.lamps = LampsCard(view)
                self.lamp = LampCard(view, self._override)
                self.overrides = OverridesCard(view)
                self.form = LevelForm(view, self._changed)
                self.cabinets = CabinetsCard(view)
            with ui.element("div").classes("lane third"):
                self.meters = MetersCard(view)
        self.cards: tuple[Card, ...] = (
            self.lamps,
            self.lamp,
            self.overrides,
            self.form,
            self.savings,
            self.cabinets,
            self.meters,
        )

    def enter(self) -> None:
        """The browser has connected: begin to look."""
        if not self._has_entered:
            self._has_entered = True
            self.town.enter()
            CLIENTS.inc()
            self._offering = background_tasks.create(self.header.offer_towns(), name="offer municipalities")

    def leave(self) -> None:
        """The browser is gone for good."""
        if self._has_entered and not self._is_left:
            self._is_left = True
            if self._offering is not None:
                self._offering.cancel()
            self.town.leave()
            CLIENTS.dec()

    def tick(self) -> None:
        """Brings everything up to date."""
        began = time.perf_counter()
        if self.session.is_over or self.town.is_signed_out:
            ui.navigate.to(f"/login?to={quote(self._path)}")
            return
        self.header.tick()
        self.map.tick()
        for card in self.cards:
            card.tick()
        TICK_DURATION.observe(time.perf_counter() - began)

    def _choose(self, row: int) -> None:
        self.lamp.choose(row)

    def _override(self, lamp: Lamp) -> None:
        self.form.for_lamp(lamp)

    def _changed(self) -> None:
        self.overrides.tick()


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI, once per language, so that each has its own `lang`."""
    for language, quasar in QUASAR_LANGUAGES.items():
        _register(language, quasar, simulated)


def _register(language: str, quasar: Language, simulated: bool) -> None:
    @ui.page(f"/{language}/{{municipality}}", language=quasar, reconnect_timeout=RECONNECT_S)
    def overview(request: Request, client: Client, municipality: str) -> None:
        PAGE_LOADS.labels("town").inc()
        session: Session = request.scope[SESSION]
        page = TownPage(session, municipality, language, simulated=simulated)
        client.on_connect(page.enter)
        client.on_delete(page.leave)
        ui.timer(TICK_S, page.tick)


def error_content() -> None:
    """What somebody sees when a page could not be built. What happened is in the log, not here."""
    t = Texts("de")
    other = Texts("en")
    ui.add_head_html('<link rel="stylesheet" href="/static/lichtbuch.css">')
    with ui.element("main").classes("plain-card"):
        rich("h1", f"{t('error_page')} · {other('error_page')}")
        rich("p", t("error_page_text"))
        rich("p", other("error_page_text")).props["lang"] = "en"
        ui.link(t("to_start"), "/")
