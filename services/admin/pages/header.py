"""The top of the page: whose town, what time it is there, who looks; and what is wrong or not real."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any, Final, cast

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from domain.errors import LichtbuchError
from services.admin.asking import municipalities
from services.admin.feed import Feed
from services.admin.figures import id_of
from services.admin.guard import with_query
from services.admin.pages.view import View, rich
from services.admin.session import Session

PAGES: Final = {
    "page": "",
    "fault_page": "/faults",
    "meter_page": "/meters",
    "finding_page": "/findings",
    "preview_page": "/preview",
    "waiver_page": "/waivers",
    "sensor_page": "/sensors",
    "protection_page": "/protection",
    "endpoint_page": "/endpoints",
}
"""Pages of a municipality: the key of the name, and what follows the municipality in the address."""


class Header:
    """The header."""

    def __init__(
        self,
        view: View,
        session: Session,
        *,
        path: str = "",
        query: str = "",
        title: str = "page",
        simulated: bool = False,
    ) -> None:
        """path: what follows the municipality in the page's address; query: what is chosen there; title: the key of
        its name."""
        self.view, self._session, self._path, self._title = view, session, path, title
        self._section = next((tail for tail in PAGES.values() if tail and path.startswith(f"{tail}/")), path)
        """What another municipality has too: not one of its meters."""
        t, town = view.t, view.town
        with ui.element("header").classes("top"):
            ui.link(t("skip"), "#content").classes("skip")
            rich("span", '<span class="lamp" aria-hidden="true"></span>Lichtbuch', "wordmark")
            with ui.element("div").classes("where"):
                self._name = rich("h1").mark("town")
                self._choice = ui.select({}, label=t("municipality"), on_change=self._go).mark("choose-town")
                self._choice.props("dense outlined dark options-dense").set_visibility(False)
                self._time = ui.label().classes("time").mark("time")
            with ui.element("nav").classes("pages").mark("pages") as pages:
                pages.props["aria-label"] = t("pages")
                self._links = {key: self._link(key, tail) for key, tail in PAGES.items()}
            with ui.element("div").classes("chips"):
                if town.clock.speed != 1:
                    ui.label(t("lapse", speed=view.formats.number(town.clock.speed))).classes("chip")
                if simulated:
                    ui.label(t("simulated")).classes("chip")
            with ui.element("div").classes("who"):
                person = ui.label(session.login.name).classes("person").mark("person")
                person.props["title"] = t("logged_in_as", name=session.login.name)
                same = with_query(f"/{t.other}/{id_of(town.name)}{path}", query)
                ui.link(t("other_language"), same).props["lang"] = t.other
                with ui.element("form").props(f'method="post" action="/logout?page={ui.context.client.id}"'):
                    ui.button(t("logout"), color=None).props("flat dense no-caps type=submit text-color=white").mark(
                        "logout"
                    )
        self._synthetic = ui.label(t("synthetic")).classes("banner synthetic").mark("synthetic")
        self._synthetic.set_visibility(False)
        self._away = ui.label().classes("banner away").props('role="alert"').mark("away")
        self._away.set_visibility(False)
        self._facts_seen = -1
        self._counted: tuple[tuple[str, Feed[tuple[Any, ...]]], ...] = (
            ("fault_page", cast(Feed[tuple[Any, ...]], town.faults)),
            ("finding_page", cast(Feed[tuple[Any, ...]], town.findings)),
        )
        self._counts_seen = [-1, -1]

    def tick(self) -> None:
        """Time, town, and who does not answer."""
        town, t = self.view.town, self.view.t
        now = town.clock.now()
        self._time.set_text(f"{self.view.formats.long_date(now)}, {self.view.formats.clock(now)}")
        if town.facts.version != self._facts_seen:
            self._facts_seen = town.facts.version
            facts = town.facts.value
            name = facts.display_name if facts else id_of(town.name)
            self._name.set_content(escape(name))
            page = f"{t(self._title)} · " if self._path else ""
            ui.page_title(f"{page}{name} · Lichtbuch")
            self._synthetic.set_visibility(bool(facts and facts.synthetic))
        for place, (key, feed) in enumerate(self._counted):
            if feed.version != self._counts_seen[place]:
                self._counts_seen[place] = feed.version
                count, words = len(feed.value or ()), t(key)
                self._links[key].set_text(f"{words} ({self.view.formats.number(count)})" if count else words)
        away = town.away
        self._away.set_text(
            t("away", services=self.view.formats.listed([t(service) for service in away])) if away else ""
        )
        self._away.set_visibility(bool(away))

    async def offer_towns(self) -> None:
        """Lets the person go to another municipality, where there is one; tries again while the registry is away."""
        while True:
            try:
                towns = await municipalities(self._session.clients)
            except LichtbuchError:
                await asyncio.sleep(10)
                continue
            break
        options = {facts.id: facts.display_name for facts in towns}
        if len(options) > 1:
            here = id_of(self.view.town.name)
            self._choice.set_options(options, value=here if here in options else None)
            self._choice.set_visibility(True)
            self._name.classes(add="for-readers")

    def _go(self, event: ValueChangeEventArguments[str | None]) -> None:
        if event.value and event.value != id_of(self.view.town.name):
            ui.navigate.to(f"/{self.view.t.language}/{event.value}{self._section}")

    def _link(self, key: str, tail: str) -> ui.link:
        """A link to a page of this municipality; the one that is open says so."""
        link = ui.link(self.view.t(key), f"/{self.view.t.language}/{id_of(self.view.town.name)}{tail}").mark(key)
        if tail == self._section:
            link.props["aria-current"] = "page" if tail == self._path else "true"
        return link
