"""What a meter is: its head with the newest value, the facts of its housing and lives, and what was found about it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from nicegui import ui

from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import id_of
from services.admin.findings import FindingNow
from services.admin.meters import Life, MeterItem, behind, is_late, registers, sub_meters
from services.admin.pages.fields import may
from services.admin.pages.findings_card import finding_html
from services.admin.pages.install_dialog import InstallDialog, can_install
from services.admin.pages.meter_desk import Desk
from services.admin.pages.places_cards import latest_text
from services.admin.pages.view import Card, View, page_path, rich
from services.admin.quantities import counter_text, faces_of, on_face

_E4: Final = 10_000


class HeadCard(Card):
    """The meter's name, its newest value with its age, and the way to a new reading."""

    def __init__(self, view: View, name: str) -> None:
        self._meter_name = name
        self._minute = -1
        super().__init__(view, "meter", view.town.meter_list, view.town.may_read_in, mark="meter-head")

    def build(self) -> None:
        """Name, value, links."""
        t = self.view.t
        self._title = rich("h3", escape(id_of(self._meter_name)), "meter-title").mark("meter-title")
        self._what = ui.label().classes("quiet").mark("meter-what")
        self._latest = rich("p", classes="reading").mark("meter-latest")
        with ui.element("div").classes("with-button"):
            ui.link(t("meter_back"), page_path(self.view, "/meters"))
            self._enter = ui.link(
                t("reading_new"), page_path(self.view, f"/readings/new?meter={id_of(self._meter_name)}")
            )
            self._enter.classes("action").mark("head-reading-new").set_visibility(False)

    def tick(self) -> None:
        """Shows what is new; and once a minute how old the newest value is by now."""
        minute = self.view.town.clock.real().minute
        if minute != self._minute:
            self._minute, self._seen = minute, ()
        super().tick()

    def show(self) -> None:
        """What is known."""
        view, t, feed = self.view, self.view.t, self.view.town.meter_list
        meter = next((each for each in feed.value or () if each.name == self._meter_name), None)
        if meter is None:
            self._what.set_text(self.instead(feed) if feed.value is None else t("meter_missing"))
            self._latest.set_content("")
            return
        self._title.set_content(f"{escape(meter.display_name)} <span class='badge'>{escape(meter.id)}</span>")
        where = f"{t('cabinet')} {meter.place}" if meter.is_cabinet else meter.place
        words = [t(f"medium_{meter.medium}"), t(f"meter_kind_{meter.kind}"), where]
        self._what.set_text(" · ".join(word for word in words if word))
        self._latest.set_content(self._newest(meter))
        self._enter.set_visibility(may(view.town.may_read_in) and meter.is_readable)

    def _newest(self, meter: MeterItem) -> str:
        t, formats, now = self.view.t, self.view.formats, self.view.town.clock.now()
        if meter.latest_value is None or meter.latest_slot is None:
            return escape(t("meter_is_sum") if meter.is_virtual else t("no_reading"))
        age = t("age", age=formats.span(int((now - meter.latest_slot).total_seconds())))
        late = f' <span class="badge stale">{escape(t("meter_late"))}</span>' if is_late(meter, now) else ""
        value = escape(latest_text(formats, meter, meter.latest_value))
        return f"<strong>{value}</strong> <span>{escape(formats.zoned(meter.latest_slot))}, {escape(age)}</span>{late}"


class FactsCard(Card):
    """Master data, lives of the register, what hangs on the meter."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        super().__init__(
            desk.view, "meter_facts", desk.view.town.meter_list, desk.view.town.inventory, desk.view.town.may_install,
            mark="meter-facts",
        )  # fmt: skip

    def build(self) -> None:
        """Pairs of words."""
        self._pairs = rich("dl", classes="pairs").mark("meter-pairs")
        self._lives_head = rich("h3", escape(self.view.t("meter_lives")))
        self._lives = rich("ul", classes="lives").mark("meter-lives")
        with ui.element("div").classes("buttons start"):
            self._install = ui.button(on_click=self._ask_install).props("outline no-caps").mark("install")
        self._install.set_visibility(False)

    def show(self) -> None:
        """All that is known and not empty."""
        view, t, desk, meter = self.view, self.view.t, self._desk, self._desk.meter
        number = view.formats.number
        above = [
            (word, name) for word, name in (("meter_device", meter.device), ("meter_main", meter.main_meter)) if name
        ]
        pairs: list[tuple[str, str]] = [
            (t("meter_serial"), escape(meter.serial_number)),
            (t("meter_obis"), escape(meter.obis_code)),
            (t("meter_malo"), escape(meter.market_location)),
            (t("meter_melo"), escape(meter.metering_location)),
            (t("meter_operator"), escape(meter.metering_operator)),
            (t("meter_purpose"), escape(t(f"meter_purpose_{meter.purpose}")) if meter.purpose else ""),
            (t("meter_flow"), escape(t(f"meter_flow_{meter.flow}")) if meter.flow else ""),
            (t("meter_cycle"), escape(t(f"meter_cycle_{meter.cycle}")) if meter.cycle else ""),
            (t("meter_ratio"), escape(number(meter.transformer_ratio)) if meter.transformer_ratio > 1 else ""),
            (t("meter_rollover"), escape(self._rollover(meter))),
            (t("meter_area"), escape(f"{number(meter.floor_area_m2)} m²") if meter.floor_area_m2 else ""),
            (
                t("meter_read_at"),
                escape(id_of(meter.endpoint)) or (escape(t("meter_by_hand")) if meter.is_readable else ""),
            ),
            *((t(word), self._link(name)) for word, name in above),
            (t("meter_registers"), ", ".join(self._link(each.name) for each in registers(meter, desk.meters))),
            (t("meter_subs"), ", ".join(self._link(each.name) for each in sub_meters(meter, desk.meters))),
            (t("meter_terms"), ", ".join(self._term(name, minus) for name, minus in meter.terms)),
            (t("meter_gas"), "<br>".join(self._gas(each) for each in range(len(meter.gas_factors)))),
        ]
        self._pairs.set_content("".join(f"<dt>{escape(word)}</dt><dd>{value}</dd>" for word, value in pairs if value))
        self._lives_head.set_visibility(bool(meter.lives))
        self._lives.set_content("".join(f"<li>{self._life(meter, life)}</li>" for life in reversed(meter.lives)))
        self._install.set_text(t("install_again" if meter.installed_at else "install"))
        self._install.set_visibility(may(view.town.may_install) and can_install(meter))

    def _ask_install(self) -> None:
        with self.frame:
            InstallDialog(self._desk).open()

    def _rollover(self, meter: MeterItem) -> str:
        if not meter.rollover:
            return ""
        return counter_text(self.view.formats, meter.rollover, meter.unit, meter.scale_exponent, meter.medium)

    def _link(self, name: str) -> str:
        address = page_path(self.view, f"/meters/{id_of(name)}")
        return f'<a href="{escape(address)}">{escape(self._desk.called(name))}</a>'

    def _term(self, name: str, is_subtracted: bool) -> str:
        return f"{'−' if is_subtracted else '+'} {self._link(name)}"

    def _gas(self, place: int) -> str:
        factor, number = self._desk.meter.gas_factors[place], self.view.formats.number
        value = number(factor.calorific_value_wh_per_m3 / 1000, 3)
        state = number(factor.state_number_e4 / _E4, 4)
        return escape(self.view.t("meter_gas_factor", day=factor.valid_from, value=value, state=state))

    def _life(self, meter: MeterItem, life: Life) -> str:
        t, formats = self.view.t, self.view.formats

        def reading(value: int) -> str:
            face = on_face(value, faces_of(life.unit, meter.medium)[0], life.scale_exponent, life.transformer_ratio)
            plain = counter_text(formats, value, life.unit, life.scale_exponent, meter.medium)
            digits = min(3, max(0, -int(face.normalize().as_tuple().exponent)))
            return (
                plain
                if life.transformer_ratio == 1
                else t("meter_face", value=plain, face=formats.number(face, digits))
            )

        end = life.removed_at
        until = t("nothing") if end is None else formats.long_date(end)
        counts = meter.kind == metering_pb2.READING_KIND_COUNTER
        known = life.installed_at.year > 1970  # where nobody knows, it has always been there
        begin = formats.long_date(life.installed_at) if known else "…"
        span = t("life_since", start=begin) if known else ""
        if end is not None:
            span = t("life_span", start=begin, end=until)
        words = [
            t("meter_serial_short", number=life.serial_number) if life.serial_number else "",
            span,
            t("life_first", value=reading(life.first_reading)) if counts and known else "",
            t("life_final", value=reading(life.final_reading)) if counts and end is not None else "",
            t("life_ratio", ratio=formats.number(life.transformer_ratio)) if life.transformer_ratio > 1 else "",
            life.obis_code,
            t("life_reset") if life.ended_by_reset else t("life_exchanged") if end is not None else "",
        ]
        return escape(" · ".join(word for word in words if word))


class MeterFindingsCard(Card):
    """What the watch found about this meter, and about those behind it: waste is raised as deep as it shows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        super().__init__(desk.view, "finding_page", desk.view.town.findings, mark="meter-findings")

    def build(self) -> None:
        """A sentence and a list."""
        self._sentence = ui.label().classes("quiet").mark("meter-findings-state")
        self._list = rich("ul", classes="faults").mark("meter-findings-list")
        self._heading = rich("h3", escape(self.view.t("findings_behind"))).mark("meter-findings-behind")
        self._behind = rich("ul", classes="faults").mark("meter-findings-behind-list")
        self._link = ui.link(self.view.t("findings_all"), page_path(self.view, "/findings"))

    def show(self) -> None:
        """Those that stand."""
        t, feed = self.view.t, self.view.town.findings
        found = [each for each in feed.value or () if each.meter == self._desk.meter.name]
        self._sentence.set_text(self.instead(feed) if feed.value is None else "" if found else t("findings_none_here"))
        self._sentence.set_visibility(not found)
        names = {each.name for each in behind(self._desk.meter, self._desk.meters)}
        deeper = [each for each in feed.value or () if each.meter in names]
        self._link.set_visibility(bool(found or deeper))
        self._list.set_content(self._items(found))
        self._heading.set_visibility(bool(deeper))
        self._behind.set_content(self._items(deeper))

    def _items(self, findings: Sequence[FindingNow]) -> str:
        return "".join(f'<li class="fault is-new">{finding_html(self.view, each, "")}</li>' for each in findings)
