"""lichtbuch sun: sunset, sunrise, civil dusk and dawn of a night. Offline."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from cli import parsing
from cli.options import Json
from cli.output import console, print_json
from domain.errors import InvalidInput
from domain.night import night_bounds, zone
from domain.sun import sun_events


def sun(
    latitude: Annotated[float, typer.Argument(metavar="LAT", help="Degrees, north positive.")],
    longitude: Annotated[float, typer.Argument(metavar="LON", help="Degrees, east positive.")],
    date: Annotated[str, typer.Argument(metavar="DATE", help="Date of the evening, 2026-11-22.")],
    time_zone: Annotated[str, typer.Option("--time-zone", help="IANA zone of the local times.")] = "Europe/Berlin",
    as_json: Json = False,
) -> None:
    """Print the sun's events of the night that begins on DATE, in UTC and local time."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise InvalidInput.of("position", "LAT is -90..90 and LON is -180..180 degrees")
    day, tz = parsing.day(date), zone(time_zone)
    events = sun_events(latitude, longitude, day, noon_utc=night_bounds(day, tz)[0])
    times: dict[str, datetime | None] = {
        "sunset": events.sunset,
        "civil_dusk": events.civil_dusk,
        "civil_dawn": events.civil_dawn,
        "sunrise": events.sunrise,
    }
    if as_json:
        document: dict[str, Any] = {
            "latitude_deg": latitude,
            "longitude_deg": longitude,
            "night": day.isoformat(),
            "time_zone": time_zone,
            "state": events.state.name.lower(),
        }
        for name, instant in times.items():
            document[name] = instant and {
                "utc": instant.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "local": instant.astimezone(tz).isoformat(timespec="seconds"),
            }
        print_json(document)
        return
    for name, instant in times.items():
        shown = (
            f"{instant.astimezone(tz):%Y-%m-%d %H:%M:%S %Z}   {instant:%Y-%m-%d %H:%M:%S} UTC"
            if instant
            else f"none: {events.state.name.lower().replace('_', ' ')}"
        )
        console.print(f"{name.replace('_', ' '):12}{shown}")
