"""Two charts of a preview as ECharts wants them: levels over one night, and the nights of a year side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Any, Final

from services.admin.pages.view import View
from services.admin.preview import YearPicture

LEVEL_COLOUR: Final = "#e0a100"
DARK: Final = -1
"""Stands for the time between sunset and sunrise where levels stand."""
_HOUR: Final = "(value) => String((value + 12) % 24).padStart(2, '0') + ':00'"
_RECTANGLE: Final = """(params, api) => {
  const from = api.coord([api.value(0), api.value(1)]), to = api.coord([api.value(0), api.value(2)]);
  const wide = Math.max(1, api.size([1, 0])[0]) + 1, level = api.value(3) / 1000;
  const mix = (low, high) => Math.round(low + (high - low) * level);
  const fill = api.value(3) < 0 ? "#1b2d52" : `rgb(${mix(120, 255)}, ${mix(74, 211)}, ${mix(20, 92)})`;
  const top = Math.min(from[1], to[1]), high = Math.max(1, Math.abs(from[1] - to[1]));
  return {type: "rect", shape: {x: from[0] - wide / 2, y: top, width: wide, height: high}, style: {fill}};
}"""


def night_options(view: View, points: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Level in percent over local time, from noon to noon."""
    every = max(1, len(points) // 8)
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 4, "right": 14, "top": 14, "bottom": 2, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            ":valueFormatter": f"(value) => value.toLocaleString('{view.t.language}') + ' %'",
        },
        "xAxis": {
            "type": "category",
            "boundaryGap": False,
            "data": [time for time, _ in points],
            "axisLabel": {"interval": every - 1},
            "axisTick": {"interval": every - 1},
        },
        "yAxis": {"type": "value", "min": 0, "max": 100, "axisLabel": {"formatter": "{value} %"}},
        "series": [
            {
                "name": view.t("level"),
                "type": "line",
                "data": [level for _, level in points],
                "showSymbol": False,
                "lineStyle": {"color": LEVEL_COLOUR, "width": 2},
                "itemStyle": {"color": LEVEL_COLOUR},
                "areaStyle": {"color": "rgba(224, 161, 0, 0.18)"},
            }
        ],
    }


def year_options(view: View, picture: YearPicture) -> dict[str, Any]:
    """Nights from left to right, the town's clocks from top to bottom: the dark band, and the light in it."""
    dark = [[number, begins, ends, DARK] for number, begins, ends in picture.dark]
    lit = [[number, begins, ends, level] for number, begins, ends, level in picture.lit]
    hours = [hour for row in dark + lit for hour in row[1:3]]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 4, "right": 14, "top": 10, "bottom": 2, "containLabel": True},
        "xAxis": {
            "type": "category",
            "data": [view.formats.day_with_year(day) for day in picture.days],
            "axisTick": {"show": False},
            "axisLabel": {"hideOverlap": True},
        },
        "yAxis": {
            "type": "value",
            "inverse": True,
            "min": 2 * floor(min(hours, default=0) / 2),
            "max": 2 * ceil(max(hours, default=24) / 2),
            "interval": 2,
            "axisLabel": {":formatter": _HOUR},
        },
        "series": [
            {
                "type": "custom",
                "name": name,
                ":renderItem": _RECTANGLE,
                "encode": {"x": 0, "y": [1, 2]},
                "data": data,
                "clip": True,
                "silent": True,
            }
            for name, data in ((view.t("outlook_dark"), dark), (view.t("level"), lit))
        ],
    }
