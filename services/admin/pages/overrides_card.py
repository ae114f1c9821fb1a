"""The overrides that hold now or will, each with a button to end it."""

from __future__ import annotations

from html import escape

from nicegui import ui

from domain.errors import LichtbuchError
from services.admin.feed import problem_of
from services.admin.figures import OverrideNow, id_of
from services.admin.metrics import CHANGES
from services.admin.pages.view import Card, View, rich

MOST_TARGETS = 3
"""So many targets are named; of more, the number."""


class OverridesCard(Card):
    """The list."""

    def __init__(self, view: View) -> None:
        super().__init__(
            view, "overrides", view.town.overrides, view.town.may_override, view.town.inventory, mark="overrides"
        )

    def build(self) -> None:
        """A list that is made anew when it changes."""
        self._list = ui.element("ul").classes("overrides")
        self._empty = ui.label().classes("quiet")

    def show(self) -> None:
        """The overrides."""
        feed = self.view.town.overrides
        self._list.clear()
        if not feed.value:
            self._empty.set_text(self.view.t("no_overrides") if feed.value == () else self.instead(feed))
        self._empty.set_visibility(not feed.value)
        with self._list:
            for override in feed.value or ():
                self._item(override)

    def note(self) -> str:
        """Only the list itself may be old; the rest is how it is written."""
        return self.view.stale_since(self.view.town.overrides)

    def _item(self, override: OverrideNow) -> None:
        view, t = self.view, self.view.t
        names = targets_text(view, override.targets)
        if override.start_at > view.town.clock.now():
            formats = view.formats
            start, end = formats.date_and_time(override.start_at), formats.date_and_time(override.expires_at)
            when = t("from_until", start=start, end=end)
        else:
            when = t("until", time=view.formats.date_and_time(override.expires_at))
        urgent = f" · {t(f'priority_{override.priority}')}" if override.priority in (1, 2) else ""
        with ui.element("li").mark("override"):
            rich(
                "div",
                f'<span class="level">{escape(view.formats.percent(override.level_permille))}</span>'
                f'<span class="what"><strong>{escape(names)}</strong>'
                f"<span>{escape(when + urgent)}</span><span>{escape(override.reason)}</span></span>",
                "override",
            )
            if view.town.may_override.value is not False:
                button = ui.button(t("release"), on_click=lambda: self._ask(override)).mark("release")
                button.props("outline dense no-caps").props["aria-label"] = f"{t('release')}: {names}"

    def _ask(self, override: OverrideNow) -> None:
        t = self.view.t
        with ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("release_title")))
            ui.label(t("release_text", targets=targets_text(self.view, override.targets)))
            reason = ui.input(t("reason")).props("outlined dense maxlength=500").classes("wide")

            async def release() -> None:
                dialog.close()
                await self._release(override, (reason.value or "").strip())

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                ui.button(t("release"), on_click=release).props("unelevated no-caps").mark("release-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _release(self, override: OverrideNow, reason: str) -> None:
        try:
            await self.view.town.release(override.name, reason)
        except LichtbuchError as error:
            CHANGES.labels("release", problem_of(error).value).inc()
            ui.notify(self.view.refusal(error, "lighting"), type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("release", "ok").inc()
            ui.notify(self.view.t("released"), type="positive")
        self.tick()


def targets_text(view: View, targets: tuple[str, ...]) -> str:
    """What an override holds for, as people call it."""
    inventory = view.town.inventory.value
    names = {group.name: group.display_name for group in inventory.groups} if inventory else {}
    words = []
    for target in targets[:MOST_TARGETS]:
        if target == view.town.name:
            words.append(view.t("target_town"))
        elif "/groups/" in target:
            words.append(f"{view.t('target_group')} {names.get(target, id_of(target))}")
        elif "/cabinets/" in target:
            words.append(f"{view.t('target_cabinet')} {id_of(target)}")
        elif "/luminaires/" in target:
            words.append(view.t("lamp", id=id_of(target)))
        else:
            words.append(id_of(target))
    more = len(targets) - MOST_TARGETS
    return view.formats.listed(words) + (f" +{more}" if more > 0 else "")
