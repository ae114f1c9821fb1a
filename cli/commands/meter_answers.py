"""lichtbuch meter load|losses|compare: what readings tell beyond consumption."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import parsing
from cli.commands.meters import STEPS, SYMBOLS, End, Start, amount, list_all, period
from cli.options import Json, Town
from cli.output import enum_word, local, note, print_json, print_rows
from cli.session import Session, online
from domain.errors import InvalidInput
from domain.night import ceil_slot
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto

Chosen = Annotated[list[str] | None, typer.Argument(metavar="METER", help="Ids of meters; default: all that count.")]
_NOT_COUNTING = (pb.READING_KIND_INSTANT,)


def unit_of(number: int) -> str:
    """A unit's short name: WH, L, KG."""
    return pb.Unit.Name(number).removeprefix("UNIT_")  # type: ignore[arg-type]


def power(value: int, unit: str, *, as_json: bool) -> int | str:
    """A rate for people: W for energies, the unit per hour for others."""
    if as_json:
        return value
    return f"{value / 1000:.3f} kW" if unit == "WH" else f"{value} {SYMBOLS.get(unit, unit.lower())}/h"


async def chosen_meters(session: Session, given: list[str] | None) -> list[str]:
    """Names of the meters given; without any, of all that count something."""
    if given:
        return [await session.name("meters", item) for item in given]
    return sorted(item.name for item in await list_all(session) if item.kind not in _NOT_COUNTING)


async def slots(session: Session, start: str, end: str) -> tuple[datetime, datetime]:
    """The period asked for, on whole quarter hours."""
    begin, until = (ceil_slot(instant) for instant in await period(session, start, end, inclusive=False))
    return begin, until


def load(
    meter: Chosen = None, start: Start = "", end: End = "", municipality: Town = "", as_json: Json = False
) -> None:
    """Show peak, base load, night base load and full-load hours of load profiles."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        begin, until = await slots(session, start, end)
        names = await chosen_meters(session, meter)
        if not names:
            return []
        answer = await session.metering.QueryLoad(
            pb.QueryLoadRequest(
                parent=await session.parent(),
                meters=names,
                start_time=timestamp_to_proto(begin),
                end_time=timestamp_to_proto(until),
            )
        )
        tz = await session.zone()
        return [_load_row(one, tz, as_json=as_json) for one in answer.figures]

    print_rows(online(ask, municipality), as_json, empty="there are no meters that count")


def _load_row(found: pb.LoadFigures, tz: Any, *, as_json: bool) -> dict[str, Any]:
    unit = unit_of(found.unit)
    known = not found.refusal
    peak_at = found.peak_at.ToDatetime(tzinfo=UTC).astimezone(tz) if found.HasField("peak_at") else None
    rates = {
        "peak": found.peak,
        "mean": found.mean,
        "base": found.base_load,
        "night_base": found.night_base_load,
    }
    return {
        "meter": found.meter.rsplit("/", 1)[-1],
        "used": found.amount if as_json else amount(found.amount, unit) if found.resolution_s else None,
        **({"unit": unit} if as_json else {}),
        **{name: power(value, unit, as_json=as_json) if known else None for name, value in rates.items()},
        "peak_at": peak_at,
        "full_load_hours": found.full_load_hours if known else None,
        "load_factor_permille": found.load_factor_permille if found.HasField("load_factor_permille") else None,
        "resolution_s": found.resolution_s or None,
        "coverage_permille": found.coverage_permille,
        "estimated": found.estimated_amount,
        "remark": found.refusal,
    }


def losses(
    meter: Annotated[str, typer.Argument(metavar="METER", help="The main meter.")],
    start: Start = "",
    end: End = "",
    step: Annotated[str, typer.Option(help="hour, day, month, year, total ...")] = "day",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Hold a main meter against the sum of its sub-meters. What nobody has read is unknown, and no loss."""
    if step not in STEPS:
        raise InvalidInput.of("step", f"{step!r} is none of {', '.join(STEPS)}")

    async def ask(session: Session) -> tuple[pb.QueryLossesResponse, Any]:
        begin, until = await slots(session, start, end)
        request = pb.QueryLossesRequest(
            name=await session.name("meters", meter),
            start_time=timestamp_to_proto(begin),
            end_time=timestamp_to_proto(until),
            step=STEPS[step],
        )
        return await session.metering.QueryLosses(request), await session.zone()

    answer, tz = online(ask, municipality)
    unit = unit_of(answer.unit)
    rows = []
    # A service that does not tell what is estimated leaves the column empty.
    estimates = answer.estimated_amounts or [None] * len(answer.starts_unix_ms)
    for index, start_ms in enumerate(answer.starts_unix_ms):
        main, subs, estimated = answer.main_amounts[index], answer.sub_amounts[index], estimates[index]
        verdict = enum_word(pb.LossVerdict.Name(answer.verdicts[index]), "LOSS_VERDICT_")
        rows.append(
            {
                "from": local(start_ms, tz),
                "until": local(answer.ends_unix_ms[index], tz),
                "main": main if as_json else amount(main, unit),
                "sub_meters": subs if as_json else amount(subs, unit),
                "difference": main - subs if as_json else amount(main - subs, unit),
                "permille": round((main - subs) * 1000 / main) if main else None,
                "verdict": verdict,
                "estimated": estimated if as_json or estimated is None else amount(estimated, unit),
                "coverage_permille": answer.coverages_permille[index],
            }
        )
    if as_json:
        names = [name.rsplit("/", 1)[-1] for name in answer.sub_meters]
        print_json({"unit": unit, "sub_meters": names, "tolerance_permille": answer.tolerance_permille, "steps": rows})
        return
    print_rows(rows, False, empty="no step lies in that period")
    note(
        f"{len(answer.sub_meters)} sub-meters ({', '.join(name.rsplit('/', 1)[-1] for name in answer.sub_meters)}); "
        f"{answer.tolerance_permille / 10:g} % are tolerated; estimated is what all meters together have estimated"
    )


def compare(
    meter: Chosen = None,
    start: Annotated[str, typer.Option("--from", help="First day, 2026-01-01, or a local time.")] = "",
    end: Annotated[str, typer.Option("--until", help="Exclusive.")] = "",
    reference: Annotated[
        str, typer.Option("--with", help="Begin of the period to compare with. Default: the same of the year before.")
    ] = "",
    reference_end: Annotated[str, typer.Option("--with-until", help="Its end; default: as long as the period.")] = "",
    weather: Annotated[
        str, typer.Option(help="Weather station, or meter:ID of an outdoor sensor: takes the weather out.")
    ] = "",
    base_percent: Annotated[
        float, typer.Option("--base", help="Per cent of the reference use that follows no weather: hot water.")
    ] = 0.0,
    energy: Annotated[bool, typer.Option("--energy", help="Gas in Wh, by the gas factors of both periods.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Compare consumption with another period: plainly, per square metre and degree day, and by degree days."""
    if not start or not end:
        raise InvalidInput.of("from", "--from and --until are needed: 2026-01-01 and 2027-01-01 for a year")
    if not 0 <= base_percent <= 100:
        raise InvalidInput.of("base", f"{base_percent:g} is not within 0 and 100 per cent")

    async def ask(session: Session) -> tuple[pb.CompareConsumptionResponse, Any]:
        tz, now = await session.zone(), datetime.now(UTC)
        request = pb.CompareConsumptionRequest(
            parent=await session.parent(),
            meters=await chosen_meters(session, meter),
            start_time=timestamp_to_proto(parsing.instant(start, tz, now, "from")),
            end_time=timestamp_to_proto(parsing.instant(end, tz, now, "until")),
            weather=await weather_name(session, weather),
            base_share_permille=round(base_percent * 10),
            as_energy=energy,
        )
        if reference:
            begin = parsing.instant(reference, tz, now, "with")
            request.reference_start_time.CopyFrom(timestamp_to_proto(begin))
        if reference_end:
            until = parsing.instant(reference_end, tz, now, "with-until")
            request.reference_end_time.CopyFrom(timestamp_to_proto(until))
        return await session.metering.CompareConsumption(request), tz

    answer, tz = online(ask, municipality)
    rows = [_comparison_row(one, as_json=as_json) for one in answer.comparisons]
    begin, until = (
        stamp.ToDatetime(tzinfo=UTC).astimezone(tz)
        for stamp in (answer.reference_start_time, answer.reference_end_time)
    )
    days = {"period": answer.period_degree_days, "reference": answer.reference_degree_days}
    known = {name: found for name, found in days.items() if found.days}
    if as_json:
        degree_days = {
            name: {"centi": found.degree_days_centi, "known_days": found.known_days, "days": found.days}
            for name, found in known.items()
        }
        print_json({"reference": {"from": begin, "until": until}, "degree_days": degree_days, "meters": rows})
        return
    # Of what nobody asked for, degree days or floors, there are no columns.
    told = {name for row in rows for name, value in row.items() if value is not None}
    shown = [{name: value for name, value in row.items() if name in told} for row in rows]
    print_rows(shown, False, empty="there are no meters that count")
    note(f"compared with {begin:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}")
    for name, found in known.items():
        note(
            f"{name}: {found.degree_days_centi / 100:.2f} degree days (20/15), "
            f"{found.known_days} of {found.days} days known"
        )
    if any(one.is_provisional for one in answer.comparisons) and known:
        note("provisional: less than a heating year is not to be judged by degree days")


async def weather_name(session: Session, given: str) -> str:
    """A weather station as it is, or the name of a temperature meter from meter:ID."""
    kind, sign, identifier = given.partition(":")
    return await session.name("meters", identifier) if sign and kind == "meter" else given


def _comparison_row(found: pb.Comparison, *, as_json: bool) -> dict[str, Any]:
    unit = unit_of(found.unit)
    adjusted = found.weather_adjusted_reference_amount if found.HasField("weather_adjusted_reference_amount") else None
    per_m2 = found.milli_amount_per_m2 if found.HasField("milli_amount_per_m2") else None
    per_degree_day, before = found.milli_amount_per_degree_day, found.reference_milli_amount_per_degree_day

    def shown(value: int | None, parts: int = 1) -> int | str | None:
        return value if as_json or value is None else amount(value // parts, unit)

    return {
        "meter": found.meter.rsplit("/", 1)[-1],
        "used": shown(found.amount),
        "before": shown(found.reference_amount),
        "change_permille": found.change_permille if found.HasField("change_permille") else None,
        "before_with_this_weather": shown(adjusted),
        "adjusted_change_permille": (
            found.weather_adjusted_change_permille if found.HasField("weather_adjusted_change_permille") else None
        ),
        "per_m2": shown(per_m2, 1000),
        "per_degree_day": shown(per_degree_day if found.HasField("milli_amount_per_degree_day") else None, 1000),
        "per_degree_day_before": shown(
            before if found.HasField("reference_milli_amount_per_degree_day") else None, 1000
        ),
        "coverage_permille": found.coverage_permille,
        "coverage_before_permille": found.reference_coverage_permille,
        "estimated": shown(found.estimated_amount),
        "estimated_before": shown(found.reference_estimated_amount),
        "provisional": found.is_provisional,
        **({"unit": unit} if as_json else {}),
    }
