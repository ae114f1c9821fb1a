"""Charts of a meter as ECharts wants them: amounts with their estimated parts hatched, and values of sensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from services.admin.pages.view import View

MEASURED_COLOUR: Final = "#3f5f8f"
ESTIMATED_COLOUR: Final = "#f3d08a"
VALUE_COLOUR: Final = "#14508c"
BOUND_COLOUR: Final = "#9a4a00"
_HATCHED: Final = {
    "symbol": "rect",
    "dashArrayX": [1, 0],
    "dashArrayY": [2, 3],
    "rotation": -0.785,
    "color": "rgba(90, 54, 0, 0.75)",
}
"""Estimates are hatched: they are told apart without any colour."""


def _frame(view: View, labels: Sequence[str], symbol: str) -> dict[str, Any]:
    number = f"(value) => (value == null ? '–' : Number(value).toLocaleString('{view.t.language}')"
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 4, "right": 8, "top": 44, "bottom": 6, "containLabel": True},
        "legend": {"top": 0, "right": 0, "itemWidth": 16, "itemHeight": 12},
        "tooltip": {"trigger": "axis", ":valueFormatter": f"{number} + ' {symbol}')"},
        "xAxis": {"type": "category", "data": list(labels), "axisLabel": {"hideOverlap": True}},
        "yAxis": {
            "type": "value",
            "splitNumber": 4,
            "name": symbol,
            "nameLocation": "end",
            "nameTextStyle": {"align": "right"},
            "axisLabel": {":formatter": f"{number})"},
        },
    }


def amount_options(
    view: View, labels: Sequence[str], measured: Sequence[float], estimated: Sequence[float], symbol: str
) -> dict[str, Any]:
    """Bars: what was measured, and on top of it what is estimated."""
    t = view.t
    options = _frame(view, labels, symbol)
    options["tooltip"]["axisPointer"] = {"type": "shadow"}
    # ECharts draws patterns only where its help for readers is on; its own label is none of use: the table is there.
    options["aria"] = {
        "enabled": True,
        "label": {"enabled": False},
        "decal": {"show": True, "decals": [{"symbol": "none"}]},
    }
    options["series"] = [
        {
            "name": t(word),
            "type": "bar",
            "stack": "amount",
            "data": list(values),
            "itemStyle": {"color": colour, **dress},
            "barMaxWidth": 34,
            "barCategoryGap": "12%",
        }
        for word, values, colour, dress in (
            ("measured_part", measured, MEASURED_COLOUR, {}),
            ("estimated_part", estimated, ESTIMATED_COLOUR, {"decal": _HATCHED}),
        )
    ]
    return options


def value_options(
    view: View,
    labels: Sequence[str],
    means: Sequence[float | None],
    least: Sequence[float | None],
    greatest: Sequence[float | None],
    symbol: str,
) -> dict[str, Any]:
    """Lines: the mean, and dashed the least and the greatest value."""
    t = view.t
    options = _frame(view, labels, symbol)
    options["yAxis"]["scale"] = True
    options["series"] = [
        {
            "name": t(word),
            "type": "line",
            "data": list(values),
            "showSymbol": len(labels) < 3,
            "connectNulls": False,
            "lineStyle": {"color": colour, "width": width, "type": dash},
            "itemStyle": {"color": colour},
        }
        for word, values, colour, width, dash in (
            ("value_mean", means, VALUE_COLOUR, 2, "solid"),
            ("value_least", least, BOUND_COLOUR, 1, [2, 3]),
            ("value_greatest", greatest, BOUND_COLOUR, 1, [7, 4]),
        )
    ]
    return options
