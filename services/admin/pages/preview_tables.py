"""A preview as tables in HTML: warnings, sums beside now and full light, months, hours per level, switch events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from html import escape
from typing import Any, Final

from services.admin.figures import id_of
from services.admin.pages.fields import group_options
from services.admin.pages.view import NUMBER, Cell, View, table_html, tiles_html
from services.admin.preview import Comparison, Event, Outlook, Sums

MOST_WARNINGS: Final = 100
MOST_CABINETS: Final = 200


def group_text(view: View, name: str) -> str:
    """A group as people call it; without a name the municipality's own position."""
    return group_options(view).get(name, id_of(name)) if name else view.t("outlook_position")


class PreviewTables:
    """Writes the tables in a page's language."""

    def __init__(self, view: View) -> None:
        self.view = view

    def warnings(self, outlook: Outlook) -> str:
        """What to look at, groups by name."""
        t = self.view.t
        items = [
            (group_text(self.view, group) if group else "", text) for group, text in outlook.warnings[:MOST_WARNINGS]
        ]
        lines = [
            f"<strong>{escape(group)}</strong>: {escape(text)}" if group else escape(text) for group, text in items
        ]
        if len(outlook.warnings) > MOST_WARNINGS:
            lines.append(escape(t("outlook_warnings_more", count=len(outlook.warnings) - MOST_WARNINGS)))
        if outlook.energy_unknown:
            lines.insert(0, escape(t("outlook_no_energy", reason=outlook.energy_unknown)))
        title = escape(t("outlook_warnings", count=len(lines)))
        return f"<h3>{title}</h3><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"

    def tiles(self, total: Comparison) -> str:
        """Energy, money and emissions, each against now."""
        t, formats, sums = self.view.t, self.view.formats, total.previewed
        if sums.energy_wh is None or sums.cost_eur is None or sums.co2_g is None:
            return ""

        def than(value: int | Decimal | None, ours: int | Decimal, write: Any) -> str:
            if value is None:
                return ""
            more = ours - value
            return t("outlook_than", difference=("+" if more > 0 else "") + write(more))

        now = total.current
        energy = t("energy") + than(now.energy_wh if now else None, sums.energy_wh, formats.energy)
        money = t("money") + than(now.cost_eur if now else None, sums.cost_eur, formats.money)
        co2 = t("co2") + than(now.co2_g if now else None, sums.co2_g, formats.mass)
        return tiles_html(
            [
                ("saved", formats.energy(sums.energy_wh), energy),
                ("saved", formats.money(sums.cost_eur), money),
                ("saved", formats.mass(sums.co2_g), co2),
            ]
        )

    def total(self, total: Comparison) -> str:
        """Sums beside now and full light, with the differences."""
        t = self.view.t
        heads = [Cell(t("outlook_what"))]
        words = ("outlook_burning", "outlook_full_hours", "energy", "money", "co2")
        heads += [Cell(t(word), NUMBER) for word in words]
        rows = [self._cells(t("outlook_previewed"), total.previewed)]
        for word, other in (("outlook_current", total.current), ("outlook_full", total.full)):
            if other is not None:
                rows.append(self._cells(t(word), other))
                rows.append(self._difference(t(f"{word}_difference"), total.previewed, other))
        sums = total.previewed
        if sums.sensors_wh is not None and sums.sensors_wh != sums.energy_wh:
            active = self.view.formats.energy(sums.sensors_wh)
            rows.append(
                [Cell(t("outlook_sensors")), *(Cell("") for _ in range(2)), Cell(active, NUMBER), Cell(""), Cell("")]
            )
        return table_html(t("outlook"), heads, rows)

    def _cells(self, name: str, sums: Sums) -> list[Cell]:
        formats, dash = self.view.formats, self.view.t("nothing")
        return [
            Cell(name),
            Cell(self._hours(sums.lit_s), NUMBER),
            Cell(self._hours(sums.full_light_s), NUMBER),
            Cell(dash if sums.energy_wh is None else formats.energy(sums.energy_wh), NUMBER),
            Cell(dash if sums.cost_eur is None else formats.money(sums.cost_eur), NUMBER),
            Cell(dash if sums.co2_g is None else formats.mass(sums.co2_g), NUMBER),
        ]

    def _difference(self, name: str, ours: Sums, other: Sums) -> list[Cell]:
        formats, dash = self.view.formats, self.view.t("nothing")

        def less(mine: Any, theirs: Any, write: Any) -> Cell:
            if mine is None or theirs is None:
                return Cell(dash, f"{NUMBER} difference")
            sign = "+" if mine > theirs else ""
            return Cell(sign + write(mine - theirs), f"{NUMBER} difference")

        return [
            Cell(name, "difference"),
            less(ours.lit_s, other.lit_s, self._hours),
            less(ours.full_light_s, other.full_light_s, self._hours),
            less(ours.energy_wh, other.energy_wh, formats.energy),
            less(ours.cost_eur, other.cost_eur, formats.money),
            less(ours.co2_g, other.co2_g, formats.mass),
        ]

    def months(self, outlook: Outlook) -> str:
        """The months of the period."""
        t = self.view.t
        has_current = outlook.total.current is not None
        heads = [Cell(t("outlook_month")), Cell(t("outlook_burning"), NUMBER), Cell(t("energy"), NUMBER)]
        heads += [Cell(t("outlook_current"), NUMBER)] if has_current else []
        heads += [Cell(t("outlook_full"), NUMBER), Cell(t("money"), NUMBER), Cell(t("co2"), NUMBER)]
        rows = [self._month_cells(f"{name[5:]}/{name[:4]}", month, has_current) for name, month in outlook.months]
        total = self._month_cells(t("total"), outlook.total, has_current)
        text = f'<p class="quiet">{escape(t("outlook_months_text"))}</p>'
        return table_html(t("outlook_months"), heads, rows, total if len(rows) > 1 else ()) + text

    def _month_cells(self, name: str, month: Comparison, has_current: bool) -> list[Cell]:
        _, burning, _, energy, money, co2 = self._cells(name, month.previewed)
        others = [month.current] if has_current else []
        energies = [self._cells("", each)[3] if each else Cell("") for each in (*others, month.full)]
        return [Cell(name), burning, energy, *energies, money, co2]

    def levels(self, outlook: Outlook) -> str:
        """Hours at each level above 0."""
        t, formats = self.view.t, self.view.formats
        levels = [(level, seconds) for level, seconds in outlook.levels if level]
        total = sum(seconds for _, seconds in levels)
        rows = [
            [
                Cell(formats.percent(level)),
                Cell(self._hours(seconds), NUMBER),
                Cell(f"{formats.number(Decimal(seconds) * 100 / total, 1)} %", NUMBER),
            ]
            for level, seconds in levels
        ]
        heads = [Cell(t("outlook_level")), Cell(t("outlook_hours"), NUMBER), Cell(t("outlook_share"), NUMBER)]
        return table_html(t("outlook_levels"), heads, rows) if rows else f"<p>{escape(t('outlook_never_lit'))}</p>"

    def cabinets(self, outlook: Outlook) -> str:
        """What the cabinets' meters would count, with what is no lighting of the town."""
        t, formats = self.view.t, self.view.formats
        inventory = self.view.town.inventory.value
        names = {place.name: place.display_name for place in inventory.cabinets} if inventory else {}
        heads = [Cell(t("cabinet")), Cell(t("lamps"), NUMBER), Cell(t("outlook_previewed"), NUMBER)]
        heads += [Cell(t(word), NUMBER) for word in ("outlook_current", "outlook_foreign", "total")]
        rows = []
        for share in outlook.cabinets[:MOST_CABINETS]:
            lamps = formats.number(share.luminaires) + (f" (+{formats.number(share.others)})" if share.others else "")
            foreign = formats.energy(share.foreign_wh) + (
                f" ({formats.listed(share.foreign)})" if share.foreign else ""
            )
            energies = [formats.energy(share.previewed_wh), formats.energy(share.current_wh), foreign]
            cells = [lamps, *energies, formats.energy(share.total_wh)]
            name = names.get(share.cabinet, "")
            rows.append([Cell(f"{id_of(share.cabinet)} {name}".strip()), *(Cell(cell, NUMBER) for cell in cells)])
        return table_html(t("outlook_cabinets"), heads, rows) if rows else ""

    def events(self, events: Sequence[Event]) -> str:
        """Switch events in local time and UTC."""
        t, formats = self.view.t, self.view.formats
        heads = [
            Cell(t("outlook_local")), Cell("UTC"), Cell(t("outlook_level"), NUMBER), Cell(t("outlook_ramp"), NUMBER),
        ]  # fmt: skip
        rows = [
            [
                Cell(formats.zoned(event.at)),
                Cell(f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"),
                Cell(formats.percent(event.level_permille), NUMBER),
                Cell(f"{formats.number(event.ramp_s)} s" if event.ramp_s else "", NUMBER),
            ]
            for event in events
        ]
        return table_html(t("outlook_events"), heads, rows) if rows else ""

    def _hours(self, seconds: int) -> str:
        return f"{self.view.formats.number(Decimal(seconds) / 3600, 0 if abs(seconds) >= 360_000 else 1)} h"
