"""The endpoints of the town by state: what hangs on each, who moved it there, and moved on or back with a reason."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import groupby
from typing import Final

from nicegui import ui

from domain.errors import Conflict, LichtbuchError
from lichtbuch.registry.v1 import registry_pb2
from services.admin.endpoints import (
    STATES,
    Attached,
    EndpointNow,
    by_endpoint,
    chosen,
    health_of,
    lamps_behind,
    last_move,
    rows_behind,
)
from services.admin.feed import Problem, problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.view import Card, View, page_path, rich

MOST_SHOWN: Final = 300
"""So many are drawn; of more, the number is said: a filter finds the rest."""
_SHADOW: Final = (registry_pb2.ENDPOINT_STATE_OBSERVED, registry_pb2.ENDPOINT_STATE_TESTED)
_DRESS: Final = {
    registry_pb2.ENDPOINT_STATE_OBSERVED: "fault is-watched",
    registry_pb2.ENDPOINT_STATE_TESTED: "fault is-on",
    registry_pb2.ENDPOINT_STATE_IN_CONTROL: "fault is-good",
}


class EndpointsCard(Card):
    """The list."""

    def __init__(self, view: View) -> None:
        town = view.town
        self._attached: dict[str, tuple[Attached, ...]] = {}
        self._lamps: Counter[str] = Counter()
        self._rows: dict[str, list[int]] = {}
        feeds = (town.endpoints, town.endpoint_moves, town.attached, town.may_move, town.inventory, town.cabinets)
        self._revision = -1
        self._healths: dict[str, str] = {}
        super().__init__(view, "endpoints", *feeds, town.faults, town.meters, mark="endpoints")

    def build(self) -> None:
        """Filters, a sentence and the list."""
        t = self.view.t
        with ui.element("div").classes("filters pair"):
            self._text = ui.input(t("fault_filter"), placeholder=t("endpoint_filter_hint"), on_change=self.show)
            self._text.mark("endpoint-filter")
            states = {
                0: t("endpoint_all_states"),
                **{int(state): t(f"endpoint_state_{int(state)}") for state in STATES},
            }
            self._state = ui.select(states, value=0, label=t("endpoint_state"), on_change=self.show)
            self._state.mark("endpoint-state")
        for element in (self._text, self._state):
            element.props("outlined dense")
        self._text.props("debounce=200 clearable")
        self._sentence = ui.label().classes("quiet").mark("endpoint-count")
        self._unknown = ui.label(t("endpoint_moves_denied")).classes("quiet").mark("endpoint-moves-denied")
        self._unknown.set_visibility(False)
        self._list = ui.element("div").classes("streets")

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self.view.town.endpoints)

    def tick(self) -> None:
        """Shows what is new; also that other lamps answer. That lamps change their level makes nothing anew."""
        table, endpoints = self.view.town.table, {each.name: each for each in self.view.town.endpoints.value or ()}
        if table.revision != self._revision:
            self._revision = table.revision
            shown = [endpoints[name] for name in self._healths if name in endpoints]
            if any(self._health(each) != self._healths[each.name] for each in shown):
                self._seen = ()
        super().tick()

    def show(self) -> None:
        """The endpoints that fit."""
        view, t, town, number = self.view, self.view.t, self.view.town, self.view.formats.number
        self._list.clear()
        self._healths = {}
        self._unknown.set_visibility(town.endpoint_moves.problem is Problem.DENIED)
        if town.endpoints.value is None:
            self._sentence.set_text(self.instead(town.endpoints))
            return
        self._attached = by_endpoint(town.attached.value or (), town.meters.value or ())
        self._lamps = lamps_behind(town.inventory.value.lamps if town.inventory.value else ())
        self._rows = rows_behind(town.table.lamps)
        every = town.endpoints.value
        found = chosen(every, state=self._state.value or 0, text=self._text.value or "")
        if not every:
            sentence = t("no_endpoints")
        else:
            sentence = t("endpoints_shown", count=number(len(found)), all=number(len(every)))
        if len(found) > MOST_SHOWN:
            sentence += " " + t("faults_more", count=number(MOST_SHOWN))
        self._sentence.set_text(sentence)
        counts = Counter(each.state for each in found)
        with self._list:
            for state, group in groupby(found[:MOST_SHOWN], key=lambda each: each.state):
                name = t(f"endpoint_state_{state}")
                with ui.element("section").classes("street").mark("endpoint-section") as section:
                    section.props["aria-label"] = name
                    rich("h3", f'{escape(name)} <span class="badge">{escape(number(counts[state]))}</span>')
                    rich("p", escape(t(f"endpoint_means_{state}")), "quiet")
                    if state in _SHADOW:
                        ui.link(t("endpoint_shadow"), page_path(view, "")).mark("endpoint-shadow")
                    with ui.element("ul").classes("faults"):
                        for endpoint in group:
                            self._item(endpoint)

    def _item(self, endpoint: EndpointNow) -> None:
        t, town = self.view.t, self.view.town
        things = self._attached.get(endpoint.name, ())
        move = last_move(endpoint, town.endpoint_moves.value or {})
        health = self._healths[endpoint.name] = self._health(endpoint)
        lines = [self._things(endpoint, things), f"{endpoint.profile} · {endpoint.address}", health]
        if move is not None:
            when = self.view.formats.zoned(move.at)
            said = t("endpoint_moved", time=when, person=move.by)
            lines.append(f"{said}: {move.reason}" if move.reason else said)
        identity = id_of(endpoint.name)
        with ui.element("li").classes(_DRESS.get(endpoint.state, "fault")).mark("endpoint"):
            texts = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
            name = escape(endpoint.display_name)
            rich("div", f'<p class="what"><strong>{escape(identity)}</strong> {name}</p>{texts}', "about")
            # Who moves it is told what that concerns: not before it is known, or known that nobody tells.
            is_told = town.attached.is_settled and town.inventory.is_settled
            if is_told and town.may_move.value is True:
                with ui.element("div").classes("actions"):
                    for way, state in (("back", endpoint.previous), ("on", endpoint.following)):
                        if state is not None:
                            self._button(way, endpoint, state)

    def _button(self, way: str, endpoint: EndpointNow, state: registry_pb2.EndpointState.ValueType) -> None:
        word = self.view.t(f"endpoint_{way}", state=self.view.t(f"endpoint_state_{state}"))
        button = ui.button(word, on_click=lambda: self._ask(endpoint, state)).mark(f"endpoint-{way}")
        dress = "outline dense no-caps" if way == "on" else "flat dense no-caps"
        button.props(dress).props["aria-label"] = f"{word}: {id_of(endpoint.name)}"

    def _things(self, endpoint: EndpointNow, things: tuple[Attached, ...]) -> str:
        """What hangs on it, with its lamps."""
        t, town = self.view.t, self.view.town
        if not things:
            waiting = town.attached.value is None
            return self.instead(town.attached) if waiting else t("endpoint_nothing", owner=self._owner(endpoint))
        cabinets = town.inventory.value.cabinets if town.inventory.value else ()
        places = {place.name: place.display_name for place in cabinets}
        return self.view.formats.listed([self._thing(each, places.get(each.name, "")) for each in things])

    def _thing(self, thing: Attached, called: str) -> str:
        t, number, lamps = self.view.t, self.view.formats.number, self._lamps[thing.name]
        identity = id_of(thing.name)
        text = f"{t(f'attached_{thing.collection}')} {identity}"
        text += f" {called}" if called and called != identity else ""
        return f"{text} ({t('lamps_total', count=number(lamps))})" if lamps else text

    def _owner(self, endpoint: EndpointNow) -> str:
        return self.view.t(f"endpoint_owner_{endpoint.owner}")

    def _health(self, endpoint: EndpointNow) -> str:
        """How it is, where lighting tells it."""
        t, town, number = self.view.t, self.view.town, self.view.formats.number
        if endpoint.state == registry_pb2.ENDPOINT_STATE_PLANNED:
            return ""
        things = self._attached.get(endpoint.name, ())
        health = health_of(things, town.table, self._rows, town.faults.value or (), town.cabinets.value or ())
        if health.silent_since is not None:
            return t("endpoint_silent", time=self.view.formats.zoned(health.silent_since))
        said = []
        if health.answers is not None:
            said.append(t("endpoint_answers") if health.answers else t("no_answer"))
        if health.lamps:
            said.append(t("endpoint_lamps_answer", count=number(health.answering), all=number(health.lamps)))
        if health.unpowered:
            said.append(t("endpoint_unpowered", count=number(health.unpowered)))
        return self.view.formats.listed(said)

    # --- moving --------------------------------------------------------------------------------------------------

    def _follows(self, endpoint: EndpointNow, state: registry_pb2.EndpointState.ValueType) -> str:
        """What a move brings, in a sentence with what is concerned."""
        t, number = self.view.t, self.view.formats.number
        things = self._attached.get(endpoint.name, ())
        lamps = sum(self._lamps[each.name] for each in things if each.collection == "gateways")
        switched = sum(self._lamps[each.name] for each in things if each.collection == "cabinets")
        way = "on" if state > endpoint.state else "back"
        parts = [t(f"endpoint_{way}_{state}", what=self._concerned(lamps, switched))]
        if state == registry_pb2.ENDPOINT_STATE_IN_CONTROL:
            parts.append(t("endpoint_name"))
        elif endpoint.state == registry_pb2.ENDPOINT_STATE_IN_CONTROL and (lamps or switched):
            parts.append(t("endpoint_left", count=number(max(lamps, switched))))
        return " ".join(parts)

    def _concerned(self, lamps: int, switched: int) -> str:
        t, number = self.view.t, self.view.formats.number
        if self.view.town.attached.value is None or self.view.town.inventory.value is None:
            return t("endpoint_unknown_lamps")
        if lamps and switched:
            return t("endpoint_both", count=number(lamps), switched=number(switched))
        if lamps:
            return t("endpoint_these_lamps", count=number(lamps))
        return t("endpoint_these_feeders", count=number(switched)) if switched else t("endpoint_this_device")

    def _ask(self, endpoint: EndpointNow, state: registry_pb2.EndpointState.ValueType) -> None:
        """What follows, and why it is done."""
        t = self.view.t
        word = t(f"endpoint_state_{state}")
        # In the card, not in the list: that is made anew whenever something changes.
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("endpoint_move_title", endpoint=id_of(endpoint.name), state=word)))
            ui.label(self._things(endpoint, self._attached.get(endpoint.name, ()))).classes("quiet")
            ui.label(self._follows(endpoint, state)).mark("endpoint-follows")
            reason = ui.input(t("reason"), placeholder=t("endpoint_reason_hint")).mark("endpoint-reason")
            reason.props("outlined dense maxlength=500").classes("wide")

            async def move() -> None:
                said = (reason.value or "").strip()
                if not said:
                    reason.error = t("error_required")
                    return
                dialog.close()
                await self._move(endpoint, state, said)

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                button = ui.button(t("endpoint_move", state=word), on_click=move).mark("endpoint-move-now")
                button.props("unelevated no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _move(self, endpoint: EndpointNow, state: registry_pb2.EndpointState.ValueType, reason: str) -> None:
        town, t = self.view.town, self.view.t
        try:
            await town.commissioning.move(endpoint, state, reason)
        except LichtbuchError as error:
            CHANGES.labels("endpoint", problem_of(error).value).inc()
            said = t("endpoint_conflict") if isinstance(error, Conflict) else self.view.refusal(error, "registry")
            ui.notify(said, type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("endpoint", "ok").inc()
            word = t(f"endpoint_state_{state}")
            ui.notify(t("endpoint_moved_now", endpoint=id_of(endpoint.name), state=word), type="positive")
        await town.endpoints.refresh_anew()
        await town.endpoint_moves.refresh_anew()
        self.tick()
