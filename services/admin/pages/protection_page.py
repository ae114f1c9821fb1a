"""The page of lamps of which it is not assured that they light up by themselves, by what is missing."""

from __future__ import annotations

from html import escape
from typing import Final

from nicegui import ui

from services.admin.figures import id_of
from services.admin.pages import live_page
from services.admin.pages.live_page import LivePage
from services.admin.pages.view import NUMBER, Card, Cell, View, rich, table_html, tiles_html
from services.admin.protections import Unprotected, by_state

PATH: Final = "/protection"
MOST_SHOWN: Final = 500
"""So many lamps are listed; of more, the number is said."""


class ProtectionCard(Card):
    """How many lamps, by what is missing, and which."""

    def __init__(self, view: View) -> None:
        super().__init__(view, "unprotected", view.town.unprotected, view.town.inventory, mark="protection")

    def build(self) -> None:
        """Tiles, sentences, a table."""
        rich("p", escape(self.view.t("unprotected_text")), "quiet")
        self._tiles = rich("dl", classes="tiles")
        self._sentence = ui.label().mark("protection-sentence")
        self._how = ui.label(self.view.t("protection_how")).classes("quiet")
        self._table = rich("div", classes="scroll tall")

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self.view.town.unprotected)

    def show(self) -> None:
        """The lamps."""
        t, feed, number = self.view.t, self.view.town.unprotected, self.view.formats.number
        lamps = feed.value or ()
        counts = by_state(lamps)
        self._tiles.set_content(
            tiles_html([("alert", number(count), t(f"protection_{state}")) for state, count in counts.items()])
        )
        self._how.set_visibility(bool(lamps))
        if feed.value is None:
            self._sentence.set_text(self.instead(feed))
        elif not lamps:
            self._sentence.set_text(t("all_protected"))
        else:
            more = f" {t('protection_more', count=number(MOST_SHOWN))}" if len(lamps) > MOST_SHOWN else ""
            self._sentence.set_text(t("unprotected_count", count=number(len(lamps))) + more)
        self._table.set_content(self._html(lamps) if lamps else "")

    def _html(self, lamps: tuple[Unprotected, ...]) -> str:
        t, town = self.view.t, self.view.town
        heads = [
            Cell(t("target_lamp")),
            Cell(t("street"), "wide-only"),
            Cell(t("gateway"), "wide-only"),
            Cell(t("protection")),
            Cell(t("protection_power_on"), NUMBER),
            Cell(t("protection_loss"), NUMBER),
        ]
        rows = []
        for lamp in lamps[:MOST_SHOWN]:
            row = town.table.rows.get(lamp.luminaire)
            street = town.table.lamps[row].street if row is not None else ""
            rows.append(
                [
                    Cell(id_of(lamp.luminaire)),
                    Cell(street, "wide-only"),
                    Cell(id_of(lamp.gateway), "wide-only"),
                    Cell(t(f"protection_{lamp.state}")),
                    Cell(self._levels(lamp.power_on, lamp.read_power_on), NUMBER),
                    Cell(self._levels(lamp.loss, lamp.read_loss), NUMBER),
                ]
            )
        return table_html(t("unprotected"), heads, rows)

    def _levels(self, wanted: int | None, read: int | None) -> str:
        t = self.view.t
        if wanted is None and read is None:
            return t("nothing")
        return t("protection_levels", wanted=self._level(wanted), read=self._level(read))

    def _level(self, permille: int | None) -> str:
        if permille is None:
            return self.view.t("nothing")
        return self.view.formats.percent(permille) if permille >= 0 else self.view.t("protection_as_before")


class ProtectionPage(LivePage):
    """One open page."""

    path = PATH
    title = "protection_page"

    def build(self) -> tuple[Card, ...]:
        """The list."""
        main = ui.element("main").classes("grid single").props('id="content" tabindex="-1"')
        with main, ui.element("div").classes("lane first"):
            return (ProtectionCard(self.view),)


def register(*, simulated: bool) -> None:
    """Registers the page with NiceGUI."""
    live_page.register(
        lambda session, municipality, language: ProtectionPage(session, municipality, language, simulated=simulated),
        PATH,
        "protection",
    )
