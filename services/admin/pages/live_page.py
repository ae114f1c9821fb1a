"""What every live page of a municipality has: its session, its town, a header, cards, and one tick a second for all.

Not here: which cards a page holds (town_page.py, faults_page.py).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from fastapi import Request
from nicegui import Client, background_tasks, ui
from nicegui.language import Language

from services.admin.guard import SESSION, with_query
from services.admin.metrics import CLIENTS, PAGE_LOADS, TICK_DURATION
from services.admin.pages.header import Header
from services.admin.pages.view import Card, View
from services.admin.session import Session
from services.admin.texts import Texts

TICK_S: Final = 1.0
RECONNECT_S: Final = 30.0
"""A phone that was in a pocket for so long finds its page as it was."""
HEAD: Final = '<link rel="stylesheet" href="/static/lichtbuch.css"><script defer src="/static/session.js"></script>'
QUASAR_LANGUAGES: Final[dict[str, Language]] = {"de": "de-DE", "en": "en-GB"}


class LivePage(ABC):
    """One open page. `path` is what follows the municipality in its address, `title` the key of its name."""

    path = ""
    title = "page"

    def __init__(self, session: Session, municipality: str, language: str, *, simulated: bool) -> None:
        self.session = session
        self.town = session.town(f"municipalities/{municipality}")
        self.view = View(self.town, Texts(language))
        query = ui.context.client.request.url.query
        self._address = with_query(f"/{language}/{municipality}{self.path}", query)
        self._client_id = ui.context.client.id
        self._is_left = False
        self._has_entered = False
        self._offering: asyncio.Task[None] | None = None
        self._keeping: list[asyncio.Task[None]] = []
        ui.colors(primary="#14508c", positive="#1c6b3a", negative="#b3122a")
        ui.add_head_html(HEAD)
        self.header = Header(self.view, session, path=self.path, query=query, title=self.title, simulated=simulated)
        self.cards = self.build()

    @abstractmethod
    def build(self) -> tuple[Card, ...]:
        """Makes what is below the header."""

    def enter(self) -> None:
        """The browser has connected: begin to look."""
        if not self._has_entered:
            self._has_entered = True
            self.town.enter()
            CLIENTS.inc()
            self._begin(self.cards)
            self._offering = background_tasks.create(self.header.offer_towns(), name="offer municipalities")

    def add(self, cards: Iterable[Card]) -> None:
        """Takes cards that were made later than the page."""
        added = tuple(cards)
        self.cards = (*self.cards, *added)
        if self._has_entered and not self._is_left:
            self._begin(added)

    def _begin(self, cards: Iterable[Card]) -> None:
        """Has fetched what cards show: what only this page shows as long as it is open, the rest by the town."""
        for card in cards:
            self.town.want(*(feed for feed in card.feeds if feed not in card.own))
            for feed in card.own:
                self._keeping.append(background_tasks.create(feed.keep(), name=f"{feed.service} for a page"))

    def leave(self) -> None:
        """The browser is gone for good."""
        if self._has_entered and not self._is_left:
            self._is_left = True
            for task in (*self._keeping, *filter(None, [self._offering])):
                task.cancel()
            self.town.leave()
            CLIENTS.dec()

    def tick(self) -> None:
        """Brings everything up to date."""
        began = time.perf_counter()
        if self.session.left_from == self._client_id:
            return  # the browser is on its way to the issuer's logout: to send it to the login would overtake that
        if self.session.is_over or self.town.is_signed_out:
            ui.navigate.to(f"/login?to={quote(self._address)}")
            return
        self.header.tick()
        self.refresh()
        TICK_DURATION.observe(time.perf_counter() - began)

    def refresh(self) -> None:
        """Brings what is below the header up to date."""
        for card in self.cards:
            card.tick()


def register(make: Callable[[Session, str, str], LivePage], path: str, counted_as: str) -> None:
    """Registers a page with NiceGUI, once per language, so that each has its own `lang`."""
    for language, quasar in QUASAR_LANGUAGES.items():
        _register(make, path, counted_as, language, quasar)


def _register(
    make: Callable[[Session, str, str], LivePage], path: str, counted_as: str, language: str, quasar: Language
) -> None:
    @ui.page(f"/{language}/{{municipality}}{path}", language=quasar, reconnect_timeout=RECONNECT_S)
    def shown(request: Request, client: Client, municipality: str) -> None:
        PAGE_LOADS.labels(counted_as).inc()
        session: Session = request.scope[SESSION]
        page = make(session, municipality, language)
        client.on_connect(page.enter)
        client.on_delete(page.leave)
        ui.timer(TICK_S, page.tick)
