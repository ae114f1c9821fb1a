"""lichtbuch sun: sunrise, sunset, civil dawn and dusk of a date, and of the morning after. Offline."""

from __future__ import annotations

from datetime import datetime, timedelta
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
    date: Annotated[str, typer.Argument(metavar="DATE", help="Local date, 2026-11-22.")],
    time_zone: Annotated[str, typer.Option("--time-zone", help="IANA zone of the local times.")] = "Europe/Berlin",
    as_json: Json = False,
) -> None:
    """Print when the sun rises and sets on DATE, and on the morning after, in UTC and local time.

    Sunrise and sunset: the upper limb at the horizon (centre at -0.833 degrees); civil: centre at -6 degrees.
    """
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise InvalidInput.of("position", "LAT is -90..90 and LON is -180..180 degrees")
    day, tz = parsing.day(date), zone(time_zone)
    before, after = (
        sun_events(latitude, longitude, night, noon_utc=night_bounds(night, tz)[0])
        for night in (day - timedelta(days=1), day)
    )
    times: dict[str, datetime | None] = {
        "civil_dawn": before.civil_dawn,
        "sunrise": before.sunrise,
        "sunset": after.sunset,
        "civil_dusk": after.civil_dusk,
        "next_civil_dawn": after.civil_dawn,
        "next_sunrise": after.sunrise,
    }
    if as_json:
        document: dict[str, Any] = {
            "latitude_deg": latitude,
            "longitude_deg": longitude,
            "date": day.isoformat(),
            "time_zone": time_zone,
            "morning": before.state.name.lower(),
            "evening": after.state.name.lower(),
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
            else "none: " + (after if name in ("sunset", "civil_dusk") else before).state.name.lower().replace("_", " ")
        )
        console.print(f"{name.replace('_', ' '):17}{shown}")
