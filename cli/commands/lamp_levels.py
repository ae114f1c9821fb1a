"""lichtbuch lamp levels: what one lamp did over a period, when, how long it burned and what it drew.

What is shown is what was read back or acknowledged, as lighting keeps it. Time for which nobody knows counts neither
as burning nor as energy, and is told beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from cli import parsing
from cli.options import Json, Town
from cli.output import console, note, percent, print_json, print_rows
from cli.session import Session, online
from domain.errors import InvalidInput, NotPermitted
from domain.night import instant_from_unix_ms, lighting_night, night_bounds
from lichtbuch.lighting.v1 import control_pb2, lighting_pb2
from servicekit.convert import timestamp_to_proto

_DAY: Final = timedelta(days=1)
_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the lamp drew over a period; hours and energy are of the time for which its level is known."""

    burning_hours: float
    energy_kwh: float
    known_hours: float
    estimated: bool
    """Whether the energy rests on a curve that nobody stated."""
    evidence_hash: str

    @classmethod
    def of(cls, answer: lighting_pb2.ComputeEnergyResponse) -> Drawn | None:
        """Of the one lamp of an answer; None where it was not there in the period."""
        columns: control_pb2.LuminaireEnergyColumns = answer.energies
        if not columns.names:
            return None
        return cls(
            round(columns.lit_seconds[0] / _HOUR_S, 2),
            columns.energies_mwh[0] / 1_000_000,
            round(columns.known_seconds[0] / _HOUR_S, 2),
            columns.estimated[0],
            answer.evidence_hash,
        )

    def sentence(self, hours: float) -> str:
        """For people. hours: those of the period."""
        guess = " (estimated: nobody stated the curve of its model)" if self.estimated else ""
        unknown = hours - self.known_hours
        gap = "" if unknown < 0.01 else f"; for {unknown:.2f} h nobody knows its level, and they are not in it"
        return f"burned {self.burning_hours:.2f} h, drew {self.energy_kwh:.3f} kWh{guess}{gap}"


def past(text: str, tz: ZoneInfo, now: datetime, option: str) -> datetime:
    """An instant that is over: a time of day is the last one before now. Raises InvalidInput."""
    found = parsing.instant(text, tz, now - _DAY, option)
    if found > now:
        raise InvalidInput.of(option, f"is still to come: it is {now.astimezone(tz):%Y-%m-%d %H:%M:%S %Z}")
    return found


def level_rows(history: lighting_pb2.QueryLevelHistoryResponse, end: datetime, tz: ZoneInfo) -> list[dict[str, Any]]:
    """The changes of a lamp's level as rows, each until the next one."""
    instants = [instant_from_unix_ms(at) for at in history.instants_unix_ms]
    return [
        {
            "at": at.astimezone(tz),
            "utc": at,
            "level_permille": level,
            "known": level >= 0,
            "powered": powered,
            "hours": round((until - at).total_seconds() / _HOUR_S, 2),
        }
        for at, until, level, powered in zip(
            instants, [*instants[1:], end], history.levels_permille, history.powered, strict=True
        )
    ]


def lamp_levels(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The lamp's id.")],
    start: Annotated[
        str,
        typer.Option(
            "--from", help="From when: 2026-11-21T18:00, 2026-11-21 or 18:00. Default: noon before the last night."
        ),
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Until when. Default: now.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show what a lamp did: when its level changed, how long it burned, what it drew."""

    async def ask(session: Session) -> dict[str, Any]:
        tz, lamp = await session.zone(), await session.name("luminaires", name)
        now = await _town_time(session, lamp)
        end = past(until, tz, now, "--until") if until else now
        begin = past(start, tz, now, "--from") if start else night_bounds(lighting_night(end, tz) - _DAY, tz)[0]
        if end <= begin:
            raise InvalidInput.of("--until", f"is not after {begin.astimezone(tz):%Y-%m-%d %H:%M:%S %Z}")
        period = {"start_time": timestamp_to_proto(begin), "end_time": timestamp_to_proto(end)}
        history = await session.lighting.QueryLevelHistory(lighting_pb2.QueryLevelHistoryRequest(name=lamp, **period))
        return {
            "luminaire": lamp.rsplit("/", 1)[-1],
            "from": begin.astimezone(tz),
            "until": end.astimezone(tz),
            "changes": level_rows(history, end, tz),
            "drawn": await _drawn(session, lamp, period),
        }

    found = online(ask, municipality)
    drawn: Drawn | None = found.pop("drawn")
    if as_json:
        fields = ("burning_hours", "energy_kwh", "known_hours", "estimated", "evidence_hash")
        print_json({**found, **{field: getattr(drawn, field, None) for field in fields}})
        return
    shown = [
        {
            "local": row["at"],
            "utc": row["utc"],
            "level": percent(row["level_permille"]) if row["known"] else "not known",
            "powered": row["powered"] if row["known"] else "-",
            "hours": row["hours"],
        }
        for row in found["changes"]
    ]
    print_rows(shown, False)
    if drawn is not None:
        hours = (found["until"] - found["from"]).total_seconds() / _HOUR_S
        console.print(drawn.sentence(hours), markup=False)


async def _town_time(session: Session, lamp: str) -> datetime:
    """The town's own time, which may be a time-lapse, as lighting has it. Raises InvalidInput for an unknown lamp."""
    request = lighting_pb2.QueryLuminaireStatesRequest(parent=lamp.rsplit("/", 2)[0], luminaires=[lamp])
    return (await session.lighting.QueryLuminaireStates(request)).at.ToDatetime(tzinfo=UTC)


async def _drawn(session: Session, lamp: str, period: dict[str, Any]) -> Drawn | None:
    """Burning hours and energy; None for who may see levels only."""
    request = lighting_pb2.ComputeEnergyRequest(parent=lamp.rsplit("/", 2)[0], luminaires=[lamp], **period)
    try:
        return Drawn.of(await session.lighting.ComputeEnergy(request))
    except NotPermitted:
        note("burning hours and energy are left out: your role may not see them")
        return None
