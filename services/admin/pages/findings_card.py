"""What the watch has found, the dearest first: filtered, acknowledged, closed with a note, taken along as a file."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import Final

from nicegui import ui

from domain.errors import Conflict, LichtbuchError
from services.admin.asked import Asked
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.findings import RULES, FindingNow, euros, findings_csv, matching
from services.admin.metrics import CHANGES
from services.admin.pages.view import Card, View, download_csv, page_path, rich
from services.admin.quantities import amount_text
from services.admin.told import told

MOST_SHOWN: Final = 300
AGAIN_S: Final = 60.0
_DRESS: Final = {1: "fault is-new", 2: "fault is-watched", 3: "fault", 4: "fault is-good"}


class FindingsCard(Card):
    """The list."""

    def __init__(self, view: View) -> None:
        town = view.town
        self._feed: Asked[bool, tuple[FindingNow, ...]] = Asked(
            "metering", False, self._fetch, AGAIN_S, town.clock.real
        )
        self.own = (self._feed,)
        super().__init__(view, "findings", self._feed, town.may_close_findings, town.meter_list, mark="findings")

    async def _fetch(self, with_past: bool) -> tuple[FindingNow, ...]:
        metering = self.view.town.metering
        return await (metering.all_findings() if with_past else metering.findings())

    def build(self) -> None:
        """Filters, a sentence, the list."""
        t = self.view.t
        with ui.element("div").classes("filters four"):
            self._text = ui.input(t("fault_filter"), placeholder=t("finding_filter_hint"), on_change=self.show)
            self._text.mark("finding-filter")
            rules = {"": t("fault_all_kinds"), **{rule: t(f"finding_rule_{rule}") for rule in RULES}}
            self._rule = ui.select(rules, value="", label=t("fault_kind"), on_change=self.show).mark("finding-rule")
            self._new = ui.checkbox(t("fault_new_only"), on_change=self.show).mark("finding-new")
            self._past = ui.checkbox(t("finding_with_past"), on_change=self._past_chosen).mark("finding-past")
        for element in (self._text, self._rule):
            element.props("outlined dense")
        self._text.props("debounce=200 clearable")
        with ui.element("div").classes("with-button"):
            self._sentence = ui.label().classes("quiet").props('role="status"').mark("finding-count")
            self._csv = ui.button(t("csv_all"), on_click=self._export).mark("finding-csv")
            self._csv.props("outline dense no-caps icon=download")
        self._list = ui.element("ul").classes("faults")
        ui.label(t("finding_cost_note")).classes("quiet")

    def note(self) -> str:
        """Only the list itself may be old."""
        return self.view.stale_since(self._feed)

    def _past_chosen(self) -> None:
        self._feed.ask(bool(self._past.value))
        self.tick()

    def _places(self) -> dict[str, str]:
        return {each.name: each.place for each in self.view.town.meter_list.value or ()}

    def _chosen(self) -> tuple[FindingNow, ...]:
        return matching(
            self._feed.answer or (), text=self._text.value or "", rule=self._rule.value or "",
            new_only=bool(self._new.value), places=self._places(),
        )  # fmt: skip

    def show(self) -> None:
        """The findings that fit."""
        view, t, every = self.view, self.view.t, self._feed.answer
        self._list.clear()
        self._csv.set_visibility(bool(every))
        if every is None:
            self._sentence.set_text(self._feed.refusal or self.instead(self._feed))
            return
        found, number, places = self._chosen(), view.formats.number, self._places()
        cost = view.formats.money(euros(sum(each.cost_cents for each in found if each.stands)))
        if not every:
            sentence = t("findings_none")
        elif len(found) == len(every):
            stands = sum(1 for each in found if each.stands)
            sentence = t("findings_stand", count=number(stands), cost=cost)
        else:
            sentence = t("faults_shown", count=number(len(found)), all=number(len(every)))
        if len(found) > MOST_SHOWN:
            sentence += " " + t("faults_more", count=number(MOST_SHOWN))
        self._sentence.set_text(sentence)
        with self._list:
            for finding in found[:MOST_SHOWN]:
                self._item(finding, places.get(finding.meter, ""))

    def _item(self, finding: FindingNow, place: str) -> None:
        with ui.element("li").classes(_DRESS.get(finding.state, "fault")).mark("finding"):
            rich("div", finding_html(self.view, finding, place), "about")
            if finding.stands and self.view.town.may_close_findings.value is not False:
                with ui.element("div").classes("actions"):
                    self._button("acknowledge", finding)
                    self._button("finding_close", finding)

    def _button(self, what: str, finding: FindingNow) -> None:
        t = self.view.t
        word = t("acknowledge_again") if what == "acknowledge" and not finding.is_open else t(what)
        button = ui.button(word, on_click=lambda: self._ask(what, finding)).mark(f"finding-{what}")
        where = f"{rule_text(self.view, finding.rule)}, {finding.meter_display_name}"
        button.props("outline dense no-caps").props["aria-label"] = f"{word}: {where}"

    def _ask(self, what: str, finding: FindingNow) -> None:
        """The note that goes with it."""
        t = self.view.t
        closes = what == "finding_close"
        # In the card, not in the list: that is made anew whenever something changes.
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("finding_close_title") if closes else t("finding_acknowledge_title")))
            ui.label(f"{rule_text(self.view, finding.rule)}: {finding.meter_display_name}")
            hint = t("finding_close_hint") if closes else t("finding_acknowledge_hint")
            note = ui.input(t("fault_note"), placeholder=hint).props("outlined dense maxlength=500")
            note.classes("wide").mark("finding-note")

            async def done() -> None:
                said = (note.value or "").strip()
                if closes and not said:
                    note.error = t("error_required")
                    return
                dialog.close()
                await self._do(what, finding, said)

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                ui.button(t(what), on_click=done).props("unelevated no-caps").mark("finding-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _do(self, what: str, finding: FindingNow, note: str) -> None:
        town, t = self.view.town, self.view.t
        metering = town.metering
        try:
            await (metering.acknowledge(finding, note) if what == "acknowledge" else metering.close(finding, note))
        except LichtbuchError as error:
            CHANGES.labels("finding", problem_of(error).value).inc()
            said = t("error_conflict") if isinstance(error, Conflict) else self.view.refusal(error, "metering")
            ui.notify(said, type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("finding", "ok").inc()
            ui.notify(t("finding_closed") if what == "finding_close" else t("finding_acknowledged"), type="positive")
        await self._feed.refresh_anew()
        await town.findings.refresh_anew()
        self.tick()

    def _export(self) -> None:
        town = self.view.town
        day = self.view.formats.local(town.clock.now()).date().isoformat()
        download_csv(findings_csv(self._chosen(), self._places(), town.tz), "findings", id_of(town.name), day)


def rule_text(view: View, rule: str) -> str:
    """A rule in words."""
    return view.t(f"finding_rule_{rule}") if rule in RULES else rule


def finding_html(view: View, finding: FindingNow, place: str) -> str:
    """What was found, where, since when, how much too much, what it costs, who knows of it."""
    t, formats = view.t, view.formats
    meter = id_of(finding.meter)
    address = page_path(view, f"/meters/{meter}")
    day = formats.local(finding.start).date().isoformat()
    where = " · ".join(part for part in (place, finding.meter_display_name) if part)
    since = t("finding_since", start=formats.long_date(finding.start))
    if finding.end is not None and finding.end > finding.start:
        last = finding.end - timedelta(seconds=1)  # the end is the midnight after the last day
        since = t("finding_span", start=formats.long_date(finding.start), end=formats.long_date(last))
    medium = next((each.medium for each in view.town.meter_list.value or () if each.name == finding.meter), 0)
    excess = amount_text(formats, finding.excess, finding.unit, medium)
    lines = [t("finding_coverage", coverage=formats.percent(finding.coverage))]
    if finding.acknowledged_by:
        lines.append(t("finding_known", person=finding.acknowledged_by))
    if finding.note:
        lines.append(finding.note)
    if not finding.stands:
        ended = formats.long_date(finding.closed_at) if finding.closed_at else ""
        lines.append(f"{t(f'finding_state_{finding.state}')} {ended}".strip())
    texts = "".join(f"<span>{escape(line)}</span>" for line in lines)
    said = told(formats, finding.detail)
    language = f' lang="{said.language}"' if said.language else ""
    detail = f"<span{language}>{escape(said.text)}</span>" if said.text else ""
    cost = f"<strong>{escape(formats.money(euros(finding.cost_cents)))}</strong>" if finding.cost_cents else ""
    much = escape(t("finding_excess", amount=excess)) if finding.excess else ""
    figures = " · ".join(part for part in (much, cost) if part)
    return (
        f'<div class="about"><p class="what"><strong>{escape(rule_text(view, finding.rule))}</strong> '
        f'<a href="{escape(address)}?day={day}&amp;span=month">{escape(where or meter)}</a></p>'
        f'<p class="figures">{figures}</p><p class="quiet">{escape(since)}</p>{detail}{texts}</div>'
    )
