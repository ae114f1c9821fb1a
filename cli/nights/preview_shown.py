"""A preview for people and for programs. Where it comes from is the commands' affair."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from cli.output import console, note, percent, print_facts, print_json, print_rows
from lichtbuch.scheduler.v1 import preview_pb2
from lichtbuch.scheduler.v1.scheduler_pb2 import PreviewProfileResponse

_MOST_EVENT_NIGHTS: Final = 14
"""Beyond that, people are shown months in place of switch events."""


def shown(seen: PreviewProfileResponse, name: str, first_night: str, nights: int, *, as_json: bool) -> None:
    """Prints a preview."""
    if as_json:
        print_json(document_of(seen, name, first_night, nights))
        return
    title = f"{name}: {nights} night(s) from {first_night}"
    if nights <= _MOST_EVENT_NIGHTS:
        rows = [
            {"local time": event["local"], "UTC": event["utc"], "level": percent(event["level_permille"])}
            for event in _events(seen.instants_unix_ms, seen.levels_permille, seen.local_times, seen.ramps_s)
        ]
        print_rows(rows, False, title=title)
        console.print()
    _print_months(seen, title)
    _print_sums(seen)
    _print_cabinets(seen)
    for group in seen.groups:
        for warning in ([group.problem] if group.problem else []) + list(group.warnings):
            note(f"warning: {group.group.rsplit('/', 1)[-1]}: {warning}")
    for warning in seen.warnings:
        note(f"warning: {warning}")


def document_of(seen: PreviewProfileResponse, name: str, first_night: str, nights: int) -> dict[str, Any]:
    """A preview as one JSON document."""
    known = not seen.energy_unknown
    document: dict[str, Any] = {
        "profile": name,
        "first_night": first_night,
        "nights": nights,
        "lit_hours": round(seen.lit_seconds / 3600, 3),
        "full_light_equivalent_hours": round(seen.full_light_equivalent_seconds / 3600, 3),
        "events": _events(seen.instants_unix_ms, seen.levels_permille, seen.local_times, seen.ramps_s),
        "months": [{"month": month.month, **_three(month, known)} for month in seen.months],
        "total": _three(seen, known),
        "energy_unknown": seen.energy_unknown,
        "price_eur_per_kwh": seen.price_eur_per_kwh,
        "co2_g_per_kwh": seen.co2_g_per_kwh,
        "warnings": list(seen.warnings),
    }
    if seen.groups:
        document["groups"] = [_group(group, known) for group in seen.groups]
        document["cabinets"] = [_cabinet(cabinet) for cabinet in seen.cabinets]
    return document


def _cabinet(cabinet: preview_pb2.CabinetPreview) -> dict[str, Any]:
    """What its meter would count: luminaires of the groups that were asked for, and what else is on it."""
    return {
        "cabinet": cabinet.cabinet,
        "luminaires": cabinet.luminaire_count,
        "other_luminaires": cabinet.other_luminaire_count,
        "previewed_kwh": cabinet.previewed_wh / 1000,
        "current_kwh": cabinet.current_wh / 1000,
        "full_kwh": cabinet.full_wh / 1000,
        "foreign_kwh": cabinet.foreign_wh / 1000,
        "total_kwh": cabinet.total_wh / 1000,
        "foreign_loads": [
            {
                "name": load.display_name,
                "power_w": load.power_w,
                "months": [load.from_month, load.to_month],
                "hours": [load.from_time, load.to_time] if load.from_time else [],
                "on_hours": round(load.on_seconds / 3600, 3),
                "energy_kwh": load.energy_wh / 1000,
            }
            for load in cabinet.foreign_loads
        ],
    }


def _print_cabinets(seen: PreviewProfileResponse) -> None:
    """Cabinets with something else on their meter: without it nobody would find the preview in the readings."""
    rows = [
        {
            "cabinet": cabinet.cabinet.rsplit("/", 1)[-1],
            "what": load.display_name,
            "months": f"{load.from_month} to {load.to_month}",
            "hours": f"{load.from_time} to {load.to_time}" if load.from_time else "sunset to sunrise",
            "kWh": f"{load.energy_wh / 1000:.1f}",
            "with the lamps": f"{cabinet.total_wh / 1000:.1f}",
        }
        for cabinet in seen.cabinets
        for load in cabinet.foreign_loads
    ]
    if rows:
        console.print()
        print_rows(rows, False, title="Also on the meters, in no sum above")


def _group(group: preview_pb2.GroupPreview, known: bool) -> dict[str, Any]:
    return {
        "group": group.group,
        "problem": group.problem,
        "current_calendar": group.current_calendar,
        "luminaires": group.luminaire_count,
        "estimated_luminaires": group.estimated_count,
        **_three(group, known),
        "hours_by_level": _by_level(group.levels_permille, group.level_seconds),
        "luminaire_hours_by_shown_level": _by_level(group.shown_levels_permille, group.shown_luminaire_seconds),
        "events": _events(group.instants_unix_ms, group.event_levels_permille, group.local_times, group.ramps_s),
        "warnings": list(group.warnings),
    }


def _by_level(levels: Any, seconds: Any) -> list[dict[str, Any]]:
    return [
        {"level_permille": level, "hours": round(each / 3600, 3)} for level, each in zip(levels, seconds, strict=True)
    ]


def _events(instants: Any, levels: Any, local_times: Any, ramps: Any) -> list[dict[str, Any]]:
    return [
        {
            "local": local,
            "utc": datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "level_permille": level,
            "ramp_s": ramp,
        }
        for instant, level, local, ramp in zip(instants, levels, local_times, ramps, strict=True)
    ]


def _three(of: Any, known: bool) -> dict[str, Any]:
    """Figures of what is previewed, what holds now and full light, as far as they are there, with differences."""
    found: dict[str, Any] = {name: _figures(getattr(of, name), known) for name in _names(of)}
    for name in _names(of)[1:]:
        found[f"less_than_{name}"] = _less(of.previewed, getattr(of, name), known)
    return found


def _names(of: Any) -> list[str]:
    return [name for name in ("previewed", "current", "full") if of.HasField(name)]


def _figures(figures: preview_pb2.PreviewFigures, known: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"lit_hours": round(figures.lit_seconds / 3600, 3)}
    if known:
        found["lit_luminaire_hours"] = round(figures.lit_luminaire_seconds / 3600, 3)
        found["energy_kwh"] = figures.energy_wh / 1000
        found["energy_sensors_active_kwh"] = figures.energy_sensors_active_wh / 1000
        found["cost_eur"] = figures.cost_eur
        found["co2_kg"] = figures.co2_g / 1000
    return found


def _less(figures: preview_pb2.PreviewFigures, other: preview_pb2.PreviewFigures, known: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"lit_hours": round((other.lit_seconds - figures.lit_seconds) / 3600, 3)}
    if known:
        found["energy_kwh"] = (other.energy_wh - figures.energy_wh) / 1000
        found["cost_eur"] = f"{_cents(other) / 100 - _cents(figures) / 100:.2f}"
        found["co2_kg"] = (other.co2_g - figures.co2_g) / 1000
        found["energy_percent"] = round(_share(figures, other), 1)
    return found


def _cents(figures: preview_pb2.PreviewFigures) -> int:
    return round(float(figures.cost_eur or "0") * 100)


def _share(figures: preview_pb2.PreviewFigures, other: preview_pb2.PreviewFigures) -> float:
    """By how much less energy, in percent of the other."""
    return 100 * (other.energy_wh - figures.energy_wh) / other.energy_wh if other.energy_wh else 0.0


def _print_months(seen: PreviewProfileResponse, title: str) -> None:
    known = not seen.energy_unknown
    rows = []
    for month in seen.months:
        row: dict[str, Any] = {"month": month.month, "lit h": _hours(month.previewed)}
        if known:
            row |= {
                "kWh": f"{month.previewed.energy_wh / 1000:.1f}",
                "EUR": month.previewed.cost_eur,
                "kg CO2": f"{month.previewed.co2_g / 1000:.1f}",
            }
            for name in _names(month)[1:]:
                row[f"less than {name}"] = f"{_share(month.previewed, getattr(month, name)):.1f} %"
        else:
            row["full light h"] = _hours(month.full)
        rows.append(row)
    print_rows(rows, False, title=f"{title}, by month")


def _hours(figures: preview_pb2.PreviewFigures) -> str:
    return f"{figures.lit_seconds / 3600:.1f}"


def _print_sums(seen: PreviewProfileResponse) -> None:
    facts: dict[str, Any] = {
        "lit": f"{round(seen.lit_seconds / 3600, 3)} h",
        "as full light": f"{round(seen.full_light_equivalent_seconds / 3600, 3)} h",
    }
    if seen.energy_unknown:
        facts["energy"] = f"not known: {seen.energy_unknown}"
    elif seen.HasField("previewed"):
        figures = seen.previewed
        facts["energy"] = _drawn(figures)
        if figures.energy_sensors_active_wh != figures.energy_wh:
            facts["with sensors always active"] = f"{figures.energy_sensors_active_wh / 1000:.1f} kWh"
        for name, words in (("current", "now"), ("full", "full light")):
            if seen.HasField(name):  # type: ignore[arg-type]
                other = getattr(seen, name)
                facts[words] = f"{_drawn(other)}; this is {_share(figures, other):.1f} % less"
        facts["computed with"] = f"{seen.price_eur_per_kwh} EUR/kWh, {seen.co2_g_per_kwh} g CO2/kWh"
    print_facts(facts, False)


def _drawn(figures: preview_pb2.PreviewFigures) -> str:
    return f"{figures.energy_wh / 1000:.1f} kWh, {figures.cost_eur} EUR, {figures.co2_g / 1000:.1f} kg CO2"
