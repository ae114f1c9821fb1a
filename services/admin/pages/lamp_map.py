"""The map element: what the server tells static/lampmap.js. Columns go down, chosen lamps come up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nicegui.elements.leaflet as bundled_leaflet
from nicegui import ui
from nicegui.events import GenericEventArguments

from services.admin.asking import Inventory
from services.admin.figures import id_of
from services.admin.lamps import Fault, LampTable, Look
from services.admin.metrics import LAMP_UPDATES
from services.admin.streets import street_edges
from services.admin.texts import Texts

STATIC: Final = Path(__file__).parents[1] / "static"
LEAFLET: Final = Path(str(bundled_leaflet.__file__)).parent / "dist"
"""Leaflet as NiceGUI's wheel carries it; importing its package has made it known to the browser's module loader."""


def map_words(t: Texts) -> dict[str, Any]:
    """The words that the browser needs."""
    return {
        "language": t.language,
        "looks": [t(look.name.lower()) for look in Look],
        "sources": [t(f"source_{number}") for number in range(8)],
        "faults": {str(int(fault)): t(f"fault_{int(fault)}") for fault in Fault},
        **{key: t(key) for key in ("due", "actual", "cabinet", "whole_town", "zoom_in", "zoom_out")},
    }


class LampMap(ui.element, component=str(STATIC / "lampmap.js")):
    """All lamps of one town on one canvas."""

    def __init__(self, t: Texts, on_choose: Callable[[int], None]) -> None:
        super().__init__()
        self.add_resource(LEAFLET)
        self._props["texts"] = map_words(t)
        self._props["label"] = t("map_help")
        self._on_choose = on_choose
        self._load = 0
        """Number of the inventory that the browser has: rows of another one mean other lamps."""
        self._table: LampTable | None = None
        self._revision = 0
        self._stale = False
        self.on("choose", self._chosen)

    def show(self, table: LampTable, inventory: Inventory) -> int:
        """Sends what the browser does not have yet. Returns how many lamps were sent."""
        if table is not self._table:
            self._load += 1
            self._table, self._revision = table, 0
            self.run_method("load", self._town(table, inventory))
        rows = table.since(self._revision)
        self._revision = table.revision
        if rows.size:
            self.run_method("change", {"load": self._load, **table.columns(rows)})
            LAMP_UPDATES.inc(rows.size)
        return int(rows.size)

    def forget(self) -> None:
        """Takes all lamps off the map: the person may not see them any more."""
        if self._table is not None:
            self._load += 1
            self._table = None
            self.run_method("load", self._town(LampTable(), Inventory((), (), ())))

    def point_at(self, row: int, *, move: bool) -> None:
        """Puts a ring around a lamp; with `move` brings it into view."""
        self.run_method("mark", row, move)

    def stale(self, is_stale: bool) -> None:
        """Shows the map as an old picture, or not."""
        if is_stale != self._stale:
            self._stale = is_stale
            self.run_method("stale", is_stale)

    def _town(self, table: LampTable, inventory: Inventory) -> dict[str, Any]:
        streets: dict[str, int] = {}
        return {
            "load": self._load,
            "ids": [lamp.id for lamp in table.lamps],
            "lat": [round(lamp.latitude_deg, 6) for lamp in table.lamps],
            "lon": [round(lamp.longitude_deg, 6) for lamp in table.lamps],
            "street": [streets.setdefault(lamp.street, len(streets)) for lamp in table.lamps],
            "streets": list(streets),
            "edges": street_edges(table.lamps),
            "cabinets": [
                [id_of(place.name), place.display_name, place.latitude_deg, place.longitude_deg]
                for place in inventory.cabinets
                if place.latitude_deg or place.longitude_deg
            ],
        }

    def _chosen(self, event: GenericEventArguments) -> None:
        row, load = event.args.get("row"), event.args.get("load")
        if (
            load == self._load
            and isinstance(row, int)
            and self._table is not None
            and 0 <= row < len(self._table.lamps)
        ):
            self._on_choose(row)
