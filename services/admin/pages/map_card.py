"""The map with its legend and the search: all lamps at a glance, one to choose."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from nicegui import ui

from services.admin.feed import Problem
from services.admin.lamps import Look
from services.admin.pages.lamp_map import LampMap
from services.admin.pages.lamps_card import find_lamps
from services.admin.pages.view import View, rich


class MapCard:
    """The map. `on_choose` is called with the row of a lamp."""

    def __init__(self, view: View, on_choose: Callable[[int], None]) -> None:
        self.view = view
        self._on_choose = on_choose
        t = view.t
        with ui.element("section").classes("map-card").mark("map") as self.frame:
            self.frame.props["aria-label"] = t("map")
            with ui.element("div").classes("map-tools"):
                self._search = ui.input(f"{t('find_lamp')}: {t('find_lamp_hint')}").mark("find-lamp")
                self._search.props("dense outlined clearable dark type=search").on("keydown.enter", self._find)
                self._answer = ui.label().classes("map-answer").props('role="status"')
            with ui.element("div").classes("map-area"):
                self.map = LampMap(t, on_choose)
                self._missing = ui.label().classes("map-missing").props('role="status"')
                rich("ul", _legend(view), "map-legend").props["aria-label"] = t("legend")

    def tick(self) -> int:
        """Sends the browser what changed. Returns how many lamps were sent."""
        town = self.view.town
        self.map.stale(town.live.problem is not None and town.live.value is not None)
        missing = ""
        for feed in (town.inventory, town.live):
            if feed.value is None and not missing:
                missing = self.view.problem(feed) or self.view.t("loading")
        self._missing.set_text(missing)
        self._missing.set_visibility(bool(missing))
        self._search.set_enabled(town.inventory.problem not in (Problem.DENIED, Problem.MISSING))
        if town.inventory.value is None:
            self.map.forget()
            return 0
        return self.map.show(town.table, town.inventory.value)

    def _find(self) -> None:
        t, text = self.view.t, (self._search.value or "").strip()
        rows = find_lamps(tuple(self.view.town.table.lamps), text)
        if not text:
            self._answer.set_text("")
        elif not rows:
            self._answer.set_text(t("lamp_not_found", text=text))
        else:
            self._answer.set_text(t("lamp_several", count=len(rows)) if len(rows) > 1 else "")
            self.map.point_at(rows[0], move=True)
            self._on_choose(rows[0])


def _legend(view: View) -> str:
    items = [(look.name.lower(), view.t(look.name.lower())) for look in Look]
    items.append(("cabinet", view.t("cabinet")))
    return "".join(f'<li><span class="dot look-{kind}"></span>{escape(word)}</li>' for kind, word in items)
