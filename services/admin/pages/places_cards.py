"""Cabinets and meters as tables: what stands out first."""

from __future__ import annotations

from lichtbuch.lighting.v1 import control_pb2
from lichtbuch.metering.v1 import metering_pb2
from services.admin.figures import POOR_COVERAGE, CabinetNow, MeterNow, id_of
from services.admin.formats import Formats
from services.admin.meters import MeterItem
from services.admin.pages.view import NUMBER, Card, Cell, View, rich, table_html
from services.admin.quantities import amount_text, counter_text, value_text


def is_notable(cabinet: CabinetNow) -> bool:
    """True if somebody should look: by hand, off, door open, or silent."""
    by_hand = cabinet.switch in (control_pb2.SWITCH_POSITION_HAND, control_pb2.SWITCH_POSITION_OFF)
    return by_hand or cabinet.door_open or not cabinet.answers


class CabinetsCard(Card):
    """Switch, door and feeders of every cabinet."""

    def __init__(self, view: View) -> None:
        super().__init__(view, "cabinets", view.town.cabinets, view.town.inventory, mark="cabinets")

    def build(self) -> None:
        """A sentence and a table."""
        self._sentence = rich("p", classes="quiet")
        self._table = rich("div", classes="scroll")
        self._table.props.update({"tabindex": 0, "role": "region", "aria-label": self.view.t("cabinets")})

    def note(self) -> str:
        """Only the states may be old."""
        return self.view.stale_since(self.view.town.cabinets)

    def show(self) -> None:
        """The table, what stands out on top."""
        view, t, feed = self.view, self.view.t, self.view.town.cabinets
        self._table.set_visibility(bool(feed.value))
        if not feed.value:
            self._sentence.set_content(self.instead(feed) if feed.value is None else t("nothing"))
            return
        notable = sum(map(is_notable, feed.value))
        count = view.formats.number(notable)
        self._sentence.set_content(t("cabinets_notable", count=count) if notable else t("cabinets_fine"))
        inventory = view.town.inventory.value
        names = {place.name: place.display_name for place in inventory.cabinets} if inventory else {}
        heads = [Cell(t(word)) for word in ("cabinet", "switch", "door", "feeders")]
        ordered = sorted(feed.value, key=lambda cabinet: (not is_notable(cabinet), cabinet.name))
        self._table.set_content(table_html(t("cabinets"), heads, [self._row(item, names) for item in ordered]))

    def _row(self, cabinet: CabinetNow, names: dict[str, str]) -> list[Cell]:
        t, number = self.view.t, self.view.formats.number
        name = Cell(f"{id_of(cabinet.name)} {names.get(cabinet.name, '')}".strip())
        if not cabinet.answers:
            return [name, Cell(t("no_answer"), "warn"), Cell(t("nothing")), Cell(t("nothing"))]
        auto = cabinet.switch == control_pb2.SWITCH_POSITION_AUTO
        return [
            name,
            Cell(t(f"switch_{cabinet.switch}"), "" if auto else "warn"),
            Cell(t("door_open"), "warn") if cabinet.door_open else Cell(t("door_closed")),
            Cell(t("energised", on=number(cabinet.energised), all=number(cabinet.feeders))),
        ]


def latest_text(formats: Formats, meter: MeterNow | MeterItem, value: int) -> str:
    """The newest value of a meter: a counter to its last digit, what a sensor says as it says it."""
    counts = meter.kind in (metering_pb2.READING_KIND_UNSPECIFIED, metering_pb2.READING_KIND_COUNTER)
    write = counter_text if counts else value_text
    return write(formats, value, meter.unit, meter.scale_exponent, meter.medium)


class MetersCard(Card):
    """The newest value of every meter, its last day, and what could not be read."""

    def __init__(self, view: View) -> None:
        super().__init__(view, "meters", view.town.meters, mark="meters")

    def build(self) -> None:
        """A sentence and a table."""
        self._sentence = rich("p", classes="quiet")
        self._table = rich("div", classes="scroll")
        self._table.props.update({"tabindex": 0, "role": "region", "aria-label": self.view.t("meters")})

    def show(self) -> None:
        """The table."""
        view, t, feed = self.view, self.view.t, self.view.town.meters
        self._table.set_visibility(bool(feed.value))
        if not feed.value:
            self._sentence.set_content(self.instead(feed) if feed.value is None else t("no_meters"))
            return
        gappy = sum(1 for meter in feed.value if _is_poor(meter))
        self._sentence.set_content(t("meters_gaps", count=view.formats.number(gappy)) if gappy else "")
        self._sentence.set_visibility(bool(gappy))
        heads = [
            Cell(t("meter")),
            Cell(t("place")),
            Cell(t("latest"), NUMBER),
            Cell(t("slot"), NUMBER),
            Cell(t("day_amount"), NUMBER),
            Cell(t("coverage_day"), NUMBER),
        ]
        self._table.set_content(table_html(t("meters"), heads, [self._row(meter) for meter in feed.value]))

    def _row(self, meter: MeterNow) -> list[Cell]:
        t, formats = self.view.t, self.view.formats
        nothing = t("nothing")
        value, slot, day = meter.latest_value, meter.latest_slot, meter.day_amount
        return [
            Cell(id_of(meter.name)),
            Cell(meter.place),
            Cell(t("no_reading") if value is None else latest_text(formats, meter, value), NUMBER),
            Cell(nothing if slot is None else formats.date_and_time(slot), NUMBER),
            Cell(nothing if day is None else amount_text(formats, day, meter.unit, meter.medium), NUMBER),
            Cell(
                nothing if meter.coverage is None else formats.percent(meter.coverage),
                f"{NUMBER} warn" if _is_poor(meter) else NUMBER,
            ),
        ]


def _is_poor(meter: MeterNow) -> bool:
    """Much of its last day is missing."""
    return meter.coverage is not None and meter.coverage < POOR_COVERAGE
