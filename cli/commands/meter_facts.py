"""Meters as people type and see them: fields and their texts, and the registers that a meter had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from cli.commands.meters import amount
from cli.importing.kinds import columns_of, is_instant, last, with_offset
from cli.importing.meters import METERS
from cli.output import enum_word, print_facts, print_rows
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb

Identity = Annotated[str, typer.Argument(metavar="METER", help="Id of the meter.")]


def values_of(sets: Sequence[str] | None, options: Mapping[str, str | None]) -> dict[str, str]:
    """Fields and their texts, from options and from FIELD=VALUE. Raises InvalidInput."""
    values = {name: value for name, value in options.items() if value is not None}
    known = {column.name for column in columns_of(METERS)}
    for given in sets or []:
        name, sign, value = given.partition("=")
        if not sign or name.strip() not in known:
            raise InvalidInput.of("--set", f"{given!r} is not FIELD=VALUE; fields are {', '.join(sorted(known))}")
        values[name.strip()] = value.strip()
    return values


def meter_of(values: Mapping[str, str], parent: str, tz: ZoneInfo) -> tuple[pb.Meter, list[str]]:
    """A message of the values, and the fields that they are; instants are on a local clock. Raises InvalidInput that
    names each that is none."""
    meter = pb.Meter()
    columns = {column.name: column for column in columns_of(METERS)}
    for name, value in values.items():
        column = columns[name]
        try:
            column.take(meter, with_offset(value, tz) if is_instant(column.field) else value, parent)
        except ValueError as error:
            raise InvalidInput.of(name, f"{value!r} {error}") from None
    return meter, [columns[name].field.name for name in values]


def facts_of(meter: pb.Meter, tz: Any) -> dict[str, Any]:
    """A meter as names and values: what is set of it, what it shows, and the registers that it had."""
    unit = pb.Unit.Name(meter.unit).removeprefix("UNIT_")
    facts: dict[str, Any] = {"meter": last(meter.name)}
    facts |= {column.name: text for column in columns_of(METERS) if (text := column.text(meter))}
    if meter.HasField("installed_at"):
        facts["installed_at"] = meter.installed_at.ToDatetime(tzinfo=UTC).astimezone(tz).isoformat(timespec="minutes")
    if meter.HasField("latest_slot"):
        facts["newest"] = amount(meter.latest_value, unit, meter.scale_exponent)
        facts["at"] = meter.latest_slot.ToDatetime(tzinfo=UTC).astimezone(tz)
    facts["registers"] = [_life(life, tz) for life in meter.lives]
    return facts


def _life(life: pb.RegisterLife, tz: Any) -> dict[str, Any]:
    begin = life.installed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if life.HasField("installed_at") else None
    end = life.removed_at.ToDatetime(tzinfo=UTC).astimezone(tz) if life.HasField("removed_at") else None
    return {
        "serial": life.serial_number,
        "from": begin.isoformat(timespec="minutes") if begin else None,
        "until": end.isoformat(timespec="minutes") if end else None,
        "first_reading": life.first_reading if begin else None,
        "final_reading": life.final_reading if end else None,
        "ended_by": None if end is None else "reset" if life.ended_by_reset else "exchange or removal",
        "unit": enum_word(pb.Unit.Name(life.unit), "UNIT_"),
        "scale_exponent": life.scale_exponent,
        "obis_code": life.obis_code or None,
        "transformer_ratio": life.transformer_ratio,
        "rollover": life.rollover or None,
    }


def show(meter: pb.Meter, tz: Any, as_json: bool) -> None:
    """Prints all of a meter, with every register that it had."""
    facts = facts_of(meter, tz)
    registers = facts.pop("registers")
    if as_json:
        print_facts(facts | {"registers": registers}, as_json)
        return
    print_facts(facts, as_json)
    print_rows(registers, as_json, title="registers")
