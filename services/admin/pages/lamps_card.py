"""How many lamps do what, in large numbers; and one lamp, chosen on the map or by the search, in detail."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from nicegui import ui

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError
from domain.night import instant_from_unix_ms
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.lamps import Fault, Lamp, LampState
from services.admin.metrics import CHANGES
from services.admin.pages.view import Card, View, page_path, rich, tiles_html


class LampsCard(Card):
    """The summary."""

    def __init__(self, view: View) -> None:
        super().__init__(view, "lamps", view.town.live, view.town.inventory, view.town.unprotected, mark="lamps")

    def build(self) -> None:
        """Tiles and a sentence."""
        self._tiles = rich("dl", classes="tiles")
        self._sentence = ui.label().classes("quiet")
        self._unprotected = ui.link("", page_path(self.view, "/protection")).mark("unprotected")
        self._unprotected.set_visibility(False)

    def show(self) -> None:
        """Counts."""
        view, town, t = self.view, self.view.town, self.view.t
        if town.inventory.value is None:
            self._tiles.set_content("")
            self._sentence.set_text(self.instead(town.inventory))
            return
        counts, number = town.table.counts(), view.formats.number
        tiles = [
            ("lit", number(counts.lit), t("lit")),
            ("dimmed", number(counts.dimmed), t("dimmed")),
            ("off", number(counts.off), t("off")),
            ("alert" if counts.faults else "fault", number(counts.faults), t("faults")),
            ("following", number(counts.not_following), t("not_following")),
            ("unknown", number(counts.unknown), t("unknown")),
        ]
        if counts.unpowered:
            tiles.append(("unpowered", number(counts.unpowered), t("unpowered")))
        self._tiles.set_content(tiles_html(tiles))
        sentences = [t("lamps_total", count=number(counts.total))]
        if town.live.value is not None:
            at = view.formats.date_and_time(town.live.value)
            sentences.append(t("live") if town.live.problem is None else t("states_at", time=at))
        if counts.shadow:
            sentences.append(t("shadow", count=number(counts.shadow)))
        self._sentence.set_text(" · ".join(sentences))
        bare = town.unprotected.value
        self._unprotected.set_visibility(bool(bare))
        self._unprotected.set_text(t("unprotected_count", count=number(len(bare or ()))))

    def note(self) -> str:
        """Stale lamps are told by the stream, not by when the inventory was read."""
        live = self.view.town.live
        return self.view.stale_since(live) if live.problem is not None else super().note()


class LampCard(Card):
    """The chosen lamp. `on_override` is called with it when the person wants to set its light."""

    def __init__(self, view: View, on_override: Callable[[Lamp], None]) -> None:
        self._row: int | None = None
        self._lamp: Lamp | None = None
        self._on_override = on_override
        town = view.town
        super().__init__(
            view, "lamp_heading", town.live, town.inventory, town.may_override, town.may_identify, mark="lamp"
        )

    def build(self) -> None:
        """Facts and buttons."""
        self._facts = rich("div", classes="facts")
        self._button = ui.button(self.view.t("override_this"), on_click=self._override).props("outline no-caps")
        self._button.mark("override-this").set_visibility(False)
        self._identify = ui.button(self.view.t("identify"), on_click=self._blink).props("outline no-caps")
        self._identify.mark("identify").set_visibility(False)
        self._answer = ui.label().classes("quiet").props('role="status"').mark("identify-answer")

    def choose(self, row: int) -> None:
        """Shows another lamp."""
        lamps = self.view.town.table.lamps
        self._row, self._lamp = row, lamps[row] if row < len(lamps) else None
        self._answer.set_text("")
        self.show()

    def show(self) -> None:
        """The lamp as it is now."""
        table = self.view.town.table
        if self._lamp is None or self._row is None:
            self._facts.set_content(f'<p class="quiet">{escape(self.view.t("select_lamp"))}</p>')
            return
        if table.lamps[self._row : self._row + 1] != (self._lamp,):
            # Another inventory came: the same lamp may stand in another row, or be gone.
            found = table.rows.get(self._lamp.name)
            if found is None:
                self._lamp = self._row = None
                self.show()
                return
            self._row = found
        self._facts.set_content(self._html(self._lamp, table.state(self._row)))
        self._button.set_visibility(self.view.town.may_override.value is True)
        self._identify.set_visibility(self.view.town.may_identify.value is True)

    def _told(self, state: LampState) -> list[tuple[str, str]]:
        """What its gear is told, where that is another number than the light that is due."""
        if state.written_permille in (-1, state.due_permille):
            return []
        return [(self.view.t("told"), self.view.formats.percent(state.written_permille))]

    def _html(self, lamp: Lamp, state: LampState) -> str:
        t, formats = self.view.t, self.view.formats
        faults = [t(f"fault_{int(fault)}") for fault in Fault if fault in state.faults]
        rows = [
            (t("actual"), f"{formats.percent(state.actual_permille)} ({t(state.look.name.lower())})"),
            (t("due"), f"{formats.percent(state.due_permille)} ({t('source')}: {t(f'source_{state.source}')})"),
            *self._told(state),
            (t("fault_list"), formats.listed(faults) or t("no_faults")),
            (t("street"), lamp.street),
            (t("pole"), lamp.pole),
            (t("group"), self._group(lamp.group)),
            (t("cabinet"), id_of(lamp.cabinet)),
            (t("model"), id_of(lamp.model)),
            (t("lighting_class"), lamp.lighting_class),
            (t("power"), f"{formats.number(lamp.installed_power_w)} W" if lamp.installed_power_w else ""),
        ]
        if state.observed_at_unix_ms:
            rows.append((t("read_at"), formats.date_and_time(instant_from_unix_ms(state.observed_at_unix_ms))))
        look = state.look.name.lower()
        badge = "" if state.in_control else f' <span class="badge">{escape(t("observed_only"))}</span>'
        title = f'<p class="lamp-name"><span class="dot look-{look}"></span>{escape(t("lamp", id=lamp.id))}{badge}</p>'
        facts = "".join(f"<dt>{escape(word)}</dt><dd>{escape(value)}</dd>" for word, value in rows if value)
        return f'{title}<dl class="pairs">{facts}</dl>'

    def _group(self, name: str) -> str:
        inventory = self.view.town.inventory.value
        groups = {group.name: group.display_name for group in inventory.groups} if inventory else {}
        return groups.get(name, id_of(name))

    def _override(self) -> None:
        if self._lamp is not None:
            self._on_override(self._lamp)

    async def _blink(self) -> None:
        """Asks that the chosen lamp blinks: people at the pole see which it is."""
        lamp = self._lamp
        if lamp is None:
            return
        self._identify.disable()
        try:
            until = await self.view.town.identify(lamp.name)
        except LichtbuchError as error:
            CHANGES.labels("identify", problem_of(error).value).inc()
            violations = error.violations if isinstance(error, InvalidInput | FailedPrecondition) else ()
            self._answer.set_text(" ".join(v.reason for v in violations) or self.view.refusal(error, "lighting"))
        else:
            CHANGES.labels("identify", "ok").inc()
            self._answer.set_text(self.view.t("identify_done", id=lamp.id, time=self.view.formats.date_and_time(until)))
        finally:
            self._identify.enable()


def find_lamps(lamps: tuple[Lamp, ...], text: str) -> list[int]:
    """Rows of the lamps that a text means: by id or pole exactly, else by a part of the id, else by the street."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    exact = [row for row, lamp in enumerate(lamps) if wanted in (lamp.id.casefold(), lamp.pole.casefold())]
    if exact:
        return exact
    part = [row for row, lamp in enumerate(lamps) if wanted in lamp.id.casefold()]
    return part or [row for row, lamp in enumerate(lamps) if wanted in lamp.street.casefold()]
