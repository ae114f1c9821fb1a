"""The waivers of the town: those past their review first, then those that hold, that come, and that are over."""

from __future__ import annotations

from datetime import datetime
from html import escape
from itertools import groupby
from typing import Final

from nicegui import ui

from domain.errors import LichtbuchError
from services.admin.feed import problem_of
from services.admin.metrics import CHANGES
from services.admin.pages.overrides_card import targets_text
from services.admin.pages.view import Card, View, rich
from services.admin.waivers import Standing, WaiverNow, ordered

MOST_OVER: Final = 50
"""So many of the past are shown."""


class WaiversCard(Card):
    """The list."""

    def __init__(self, view: View) -> None:
        town = view.town
        super().__init__(view, "waivers", town.waivers, town.may_waive, town.inventory, mark="waivers")
        self._turns_at: datetime | None = None

    def build(self) -> None:
        """A warning, a sentence, and a list that is made anew when it changes."""
        self._warning = ui.label().classes("notice").props('role="status"').mark("waivers-due")
        self._warning.set_visibility(False)
        self._sentence = ui.label().classes("quiet")
        self._list = ui.element("div").classes("streets")

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self.view.town.waivers)

    def tick(self) -> None:
        """Shows what is new; also that meanwhile a waiver began or came to its review."""
        if self._turns_at is not None and self.view.town.clock.now() >= self._turns_at:
            self._seen = ()
        super().tick()

    def show(self) -> None:
        """The waivers."""
        view, t, feed, now = self.view, self.view.t, self.view.town.waivers, self.view.town.clock.now()
        self._list.clear()
        self._warning.set_visibility(False)
        self._turns_at = None
        if feed.value is None:
            self._sentence.set_text(self.instead(feed))
            return
        waivers = ordered(feed.value, now)
        due = sum(1 for standing, _ in waivers if standing is Standing.DUE)
        self._warning.set_text(t("waivers_due", count=view.formats.number(due)))
        self._warning.set_visibility(due > 0)
        zone = t("zone_note", zone=view.formats.zone_name(now))
        self._sentence.set_text(zone if waivers else t("no_waivers"))
        turns = [at for _, waiver in waivers for at in (waiver.start_at, waiver.review_at) if at > now]
        self._turns_at = min(turns, default=None)
        with self._list:
            for standing, group in groupby(waivers, key=lambda pair: pair[0]):
                self._section(standing, [waiver for _, waiver in group])

    def _section(self, standing: Standing, waivers: list[WaiverNow]) -> None:
        name = self.view.t(f"standing_{int(standing)}")
        with ui.element("section").classes("street").mark("standing") as section:
            section.props["aria-label"] = name
            rich("h3", f'{escape(name)} <span class="badge">{escape(self.view.formats.number(len(waivers)))}</span>')
            with ui.element("ul").classes("faults"):
                for waiver in waivers[: MOST_OVER if standing is Standing.OVER else len(waivers)]:
                    self._item(standing, waiver)

    def _item(self, standing: Standing, waiver: WaiverNow) -> None:
        view, t, formats = self.view, self.view.t, self.view.formats
        names = targets_text(view, waiver.targets)
        floor = formats.percent(waiver.floor_permille)
        what = t("waiver_floor", level=floor) if waiver.floor_permille else t("waiver_dark")
        day = formats.day_with_year(waiver.decided_on) if waiver.decided_on else t("nothing")
        lines = [
            t("waiver_decision", reference=waiver.decision, day=day),
            t("waiver_span", start=formats.zoned(waiver.start_at), end=formats.zoned(waiver.review_at)),
            waiver.reason,
            t("waiver_sign") if waiver.sign_at_pole else t("waiver_no_sign"),
        ]
        if waiver.released_at is not None:
            lines.append(t("waiver_released", time=formats.zoned(waiver.released_at)))
        soon = standing is Standing.HOLDS and waiver.is_soon(view.town.clock.now())
        badge = f' <span class="badge soon">{escape(t("waiver_soon"))}</span>' if soon else ""
        dress = {Standing.DUE: "fault is-new", Standing.HOLDS: "fault is-on"}.get(standing, "fault")
        with ui.element("li").classes(dress).mark("waiver"):
            texts = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
            rich(
                "div",
                f'<p class="what"><strong>{escape(names)}</strong> {escape(what)}{badge}</p>{texts}',
                "about",
            )
            if standing in (Standing.HOLDS, Standing.COMING) and view.town.may_waive.value is not False:
                with ui.element("div").classes("actions"):
                    button = ui.button(t("release"), on_click=lambda: self._ask(waiver)).mark("release-waiver")
                    button.props("outline dense no-caps").props["aria-label"] = f"{t('release')}: {names}"

    def _ask(self, waiver: WaiverNow) -> None:
        t = self.view.t
        # In the card, not in the list: that is made anew whenever something changes.
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("waiver_release_title")))
            ui.label(t("waiver_release_text", targets=targets_text(self.view, waiver.targets)))
            reason = ui.input(t("reason")).props("outlined dense maxlength=500").classes("wide").mark("release-reason")

            async def release() -> None:
                dialog.close()
                await self._release(waiver, (reason.value or "").strip())

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                ui.button(t("release"), on_click=release).props("unelevated no-caps").mark("release-waiver-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _release(self, waiver: WaiverNow, reason: str) -> None:
        town = self.view.town
        try:
            await town.planning.release_waiver(waiver.name, reason)
        except LichtbuchError as error:
            CHANGES.labels("waiver", problem_of(error).value).inc()
            ui.notify(self.view.refusal(error, "lighting"), type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("waiver", "ok").inc()
            ui.notify(self.view.t("released"), type="positive")
            await town.waivers.refresh_anew()
        self.tick()
