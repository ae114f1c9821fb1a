"""Rows of weather: the mean temperature of a day at a station, by revisions of which the highest counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import insert, text
from sqlmodel import Session, col, select

from domain.degree_days import DailyMeans
from services.metering.figures.weather import day_number, day_of
from services.metering.reading import Int64
from services.metering.store.feed import Source
from services.metering.store.tables import WeatherDayRow


@dataclass(frozen=True, slots=True)
class Written:
    """How many days are new, were there with the same mean, and were there with another one."""

    stored: int
    unchanged: int
    corrected: int


def write(
    session: Session,
    municipality_uid: str,
    station: str,
    days: Int64,
    means_centi_c: Int64,
    source: Source,
    *,
    dry_run: bool = False,
) -> Written:
    """Stores what is new or has another mean, which then is the next revision. Days may repeat with the same mean."""
    if not len(days):
        return Written(0, 0, 0)
    _hold(session, municipality_uid, station)
    there = _newest(session, municipality_uid, station, int(days.min()), int(days.max()))
    rows: list[dict[str, object]] = []
    stored = unchanged = corrected = 0
    for day, mean in zip(days.tolist(), means_centi_c.tolist(), strict=True):
        revision, known = there.get(day, (-1, None))
        if known == mean:
            unchanged += 1
            continue
        stored += known is None
        corrected += known is not None
        there[day] = (revision + 1, mean)
        rows.append(
            {
                "municipality_uid": municipality_uid,
                "station": station,
                "day": day,
                "revision": revision + 1,
                "mean_centidegrees": mean,
                "source": source.source,
                "actor": source.actor,
                "stored_at": source.stored_at,
            }
        )
    if rows and not dry_run:
        session.connection().execute(insert(WeatherDayRow), rows)
    return Written(stored, unchanged, corrected)


def means(session: Session, municipality_uid: str, station: str, first: date, end: date) -> DailyMeans:
    """Daily means of a station from `first` on and before `end`, as they are known now."""
    found = _newest(session, municipality_uid, station, day_number(first), day_number(end) - 1)
    return DailyMeans.of({day_of(day): mean for day, (_, mean) in found.items() if mean is not None}, first, end)


def stations(session: Session, municipality_uid: str) -> list[str]:
    """Stations of a municipality, by name."""
    statement = select(WeatherDayRow.station).where(col(WeatherDayRow.municipality_uid) == municipality_uid).distinct()
    return sorted(session.exec(statement).all())


def span(session: Session, municipality_uid: str, station: str) -> tuple[date, date] | None:
    """The first day that a station has, and the one after its last; None for a station without any."""
    of_station = (
        col(WeatherDayRow.municipality_uid) == municipality_uid,
        col(WeatherDayRow.station) == station,
    )
    ends = [
        session.exec(select(WeatherDayRow.day).where(*of_station).order_by(order).limit(1)).first()
        for order in (col(WeatherDayRow.day).asc(), col(WeatherDayRow.day).desc())
    ]
    if ends[0] is None or ends[1] is None:
        return None
    return day_of(ends[0]), day_of(ends[1]) + timedelta(days=1)


def _newest(
    session: Session, municipality_uid: str, station: str, first: int, last: int
) -> dict[int, tuple[int, int | None]]:
    """Highest revision and its mean, by day."""
    statement = (
        select(WeatherDayRow.day, WeatherDayRow.revision, WeatherDayRow.mean_centidegrees)
        .where(
            col(WeatherDayRow.municipality_uid) == municipality_uid,
            col(WeatherDayRow.station) == station,
            col(WeatherDayRow.day) >= first,
            col(WeatherDayRow.day) <= last,
        )
        .order_by(col(WeatherDayRow.day), col(WeatherDayRow.revision))
    )
    return {day: (revision, mean) for day, revision, mean in session.exec(statement).all()}


def _hold(session: Session, municipality_uid: str, station: str) -> None:
    """Has others who bring weather of the same station wait until the commit. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
            {"key": f"weather {municipality_uid} {station}"},
        )
