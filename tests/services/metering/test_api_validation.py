"""What the rules find, over gRPC: in what is brought, also in a dry run, and in what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.database import Database
from services.metering.settings import MeteringSettings
from services.metering.slot import SLOT_MS
from services.metering.validation.parameters import load
from tests.services.metering.making import NOON_MS
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.services.metering.validation.making_series import office
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD, VIEWER

HOURS = 8 * 168
START_MS = NOON_MS - 12 * 4 * SLOT_MS - HOURS * 4 * SLOT_MS
DOUBTFUL = pb.READING_STATUS_DOUBTFUL


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def hourly(metering: Metering) -> None:
    """A load profile of hours."""
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_HOUR)


def profile(values: Sequence[int], first: int = 0) -> pb.ReadingColumns:
    """Amounts of hours from the start."""
    return pb.ReadingColumns(
        meters=[name_of()],
        meter_indexes=[0] * len(values),
        slots_unix_ms=[START_MS + (first + number + 1) * 4 * SLOT_MS for number in range(len(values))],
        values=values,
    )


def told(findings: Sequence[pb.RuleFinding]) -> list[tuple[str, str, int, bool]]:
    return [(one.meter, one.rule, one.count, one.is_doubted) for one in findings]


async def validated(metering: Metering, **more: Any) -> pb.ValidateReadingsResponse:
    request = pb.ValidateReadingsRequest(parent=PARENT, start_time=stamp(-96 * 100), end_time=stamp(1), **more)
    answer: pb.ValidateReadingsResponse = await metering.as_(VIEWER).ValidateReadings(request)
    return answer


async def statuses(metering: Metering) -> list[int]:
    request = pb.ListReadingsRequest(parent=PARENT, start_time=stamp(-96 * 100), end_time=stamp(1))
    return list((await metering.as_().ListReadings(request)).readings.statuses)


async def test_zeros_that_stand_for_missing_values_are_named_and_stored_as_doubtful(metering: Metering) -> None:
    await hourly(metering)
    values = office(8).tolist()
    values[700:746] = [0] * 46
    tried = await metering.ingest(profile(values), dry_run=True)
    assert told(tried.findings) == [(name_of(), "zero", 46, True)]
    assert await statuses(metering) == []
    answer = await metering.ingest(profile(values))
    assert list(answer.findings) == list(tried.findings)
    assert np.flatnonzero(np.array(await statuses(metering)) == DOUBTFUL).tolist() == list(range(700, 746))
    again = await metering.ingest(profile(values))
    assert (again.stored, again.unchanged, again.refused) == (0, HOURS, 0)


@sqlite_only
async def test_what_comes_in_pieces_is_judged_by_what_is_stored_already(metering: Metering) -> None:
    await hourly(metering)
    values = office(8).tolist()
    values[1_000:1_046] = [0] * 46
    assert list((await metering.ingest(profile(values[:990]))).findings) == []
    answer = await metering.ingest(profile(values[990:], first=990))
    assert told(answer.findings) == [(name_of(), "zero", 46, True)]


async def test_one_wrong_value_of_a_counter_does_not_cast_doubt_on_those_after_it(metering: Metering) -> None:
    await metering.meter()
    answer = await metering.ingest(columns([0, 10, 9_999, 30, 40]))
    assert told(answer.findings) == [(name_of(), "spike", 1, True)]
    assert await statuses(metering) == [1, 1, DOUBTFUL, 1, 1]


@sqlite_only
async def test_a_counter_that_falls_in_a_few_readings_is_told_with_its_reason(metering: Metering) -> None:
    await metering.meter()
    await metering.ingest(columns([5_000, 5_100]))
    answer = await metering.ingest(columns([7, 8, 9], first=-6))
    assert told(answer.findings) == [(name_of(), "negative_step", 3, True)]
    assert "an exchange that nobody recorded" in answer.findings[0].detail
    assert answer.findings[0].first_slot == stamp(-6)


async def test_stored_readings_are_held_against_the_rules_by_meter_and_rule(metering: Metering) -> None:
    await hourly(metering)
    values = office(8).tolist()
    await metering.ingest(profile(values[:600]))
    await metering.ingest(profile(values[650:], first=650))
    await metering.meter("M-2", connected_load_w=1_000)
    await metering.ingest(columns([0, 10, 20, 30], meter_id="M-2"))
    answer = await validated(metering)
    assert told(answer.findings) == [(name_of(), "gap", 50, False)]
    assert answer.total == 1
    assert told((await validated(metering, meters=[name_of("M-2")])).findings) == []


@sqlite_only
async def test_parts_behind_a_main_meter_that_do_not_add_up_are_told(metering: Metering) -> None:
    main = await metering.meter("M-1", loss_tolerance_permille=30)
    for part in ("S-1", "S-2"):
        await metering.meter(part, main_meter=main.name)
    slots = 96 * 4
    await metering.ingest(columns([100 * n for n in range(slots)], first=-slots))
    await metering.ingest(columns([50 * n for n in range(slots)], first=-slots, meter_id="S-1"))
    await metering.ingest(columns([30 * n for n in range(slots)], first=-slots, meter_id="S-2"))
    found = [one for one in (await validated(metering)).findings if one.rule == "sum_check"]
    assert len(found) == 1
    assert (found[0].meter, found[0].count) == (main.name, 3)
    assert "20 %" in found[0].detail


@sqlite_only
async def test_a_sum_with_a_hidden_part_is_not_told(issuer: Issuer, database: Database) -> None:
    bound = {"contractor": [Binding(Role.CONTRACTOR, HERSFELD.id, (name_of("M-1"), name_of("S-1")))]}
    async with running_metering(issuer, database, bound) as metering:
        main = await metering.meter("M-1")
        for part in ("S-1", "S-2"):
            await metering.meter(part, main_meter=main.name)
        slots = 96 * 4
        for meter_id, step in (("M-1", 100), ("S-1", 50), ("S-2", 10)):
            readings = columns([step * n for n in range(slots)], first=-slots, meter_id=meter_id)
            await metering.ingest(readings)
        request = pb.ValidateReadingsRequest(parent=PARENT, start_time=stamp(-slots), end_time=stamp(0))
        all_of_it = await metering.as_(VIEWER).ValidateReadings(request)
        part_of_it = await metering.as_("contractor").ValidateReadings(request)
        assert [one.rule for one in all_of_it.findings] == ["sum_check"]
        assert list(part_of_it.findings) == []


@sqlite_only
async def test_tariff_registers_that_do_not_make_their_sum_are_told(metering: Metering) -> None:
    housing = await metering.meter("M-1", obis_code="1-1:1.8.0")
    for tariff in (1, 2):
        await metering.meter(f"T-{tariff}", device=housing.name, obis_code=f"1-1:1.8.{tariff}")
    slots = 96 * 4
    await metering.ingest(columns([1_000 * n for n in range(slots)], first=-slots))
    await metering.ingest(columns([600 * n for n in range(slots)], first=-slots, meter_id="T-1"))
    await metering.ingest(columns([400 * n for n in range(slots)], first=-slots, meter_id="T-2"))
    assert [one for one in (await validated(metering)).findings if one.rule == "sum_check"] == []
    # A second tariff that is 5 kWh ahead over one midnight: too much in the one day; where it falls nothing is known.
    around_midnight = range(97, 156)
    request = pb.EditReadingsRequest(
        name=name_of("T-2"),
        slots_unix_ms=[NOON_MS - n * SLOT_MS for n in around_midnight],
        values=[400 * (slots - n) + 5_000 for n in around_midnight],
        reason="the display",
    )
    await metering.as_().EditReadings(request)
    found = [one for one in (await validated(metering)).findings if one.rule == "sum_check"]
    assert [(one.meter, one.count) for one in found] == [(housing.name, 1)]
    assert "5000" in found[0].detail
    assert "more than the whole" in found[0].detail


def test_the_settings_name_a_file_whose_errors_are_told_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("[zero]\nweeks = 2\nmonths = 3\n", encoding="utf-8")
    settings = MeteringSettings(validation_rules=file)
    with pytest.raises(InvalidInput, match=r"rules\.toml:3"):
        load(settings.validation_rules)


@sqlite_only
async def test_only_the_rules_that_are_asked_for_are_told(metering: Metering) -> None:
    await metering.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.ingest(columns([1_000, 1_010, 1_020, 1_030], first=-30))
    await metering.ingest(columns([1_300], first=-1))
    slip = pb.EditReadingsRequest(
        name=name_of(), slots_unix_ms=[NOON_MS - SLOT_MS], values=[13], reason="a digit slipped"
    )
    await metering.as_().EditReadings(slip)

    async def told(*rules: str) -> set[str]:
        request = pb.ValidateReadingsRequest(parent=PARENT, start_time=stamp(-40), end_time=stamp(1), rules=rules)
        return {one.rule for one in (await metering.as_(VIEWER).ValidateReadings(request)).findings}

    whole = await told()
    assert "gap" in whole
    assert len(whole) > 1, whole
    assert [await told(rule) for rule in sorted(whole)] == [{rule} for rule in sorted(whole)]
    assert await told("gap", "digits") == {"gap"}
    with pytest.raises(InvalidInput, match=r"rules\[1\]"):
        await told("gap", "nonsense")


# --- amounts that overlap -------------------------------------------------------------------------------------


async def used(metering: Metering, first: int, last: int) -> list[int]:
    request = pb.QueryConsumptionRequest(
        parent=PARENT, meters=[name_of()], start_time=stamp(first), end_time=stamp(last), step=pb.STEP_TOTAL
    )
    return list((await metering.as_().QueryConsumption(request)).amounts)


async def test_monthly_amounts_at_consecutive_quarter_hours_are_not_counted_thrice(metering: Metering) -> None:
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_MONTH)
    answer = await metering.ingest(columns([5, 6, 7]))
    assert told(answer.findings) == [(name_of(), "overlap", 2, True)]
    assert await statuses(metering) == [1, DOUBTFUL, DOUBTFUL]
    assert await used(metering, -96 * 60, 0) == [5]
    again = await metering.ingest(columns([5, 6, 7]))
    assert (again.stored, again.refused) == (0, 0)
    assert told((await validated(metering, rules=["overlap"])).findings) == []


@sqlite_only
async def test_an_amount_that_overlaps_with_a_stored_one_is_in_doubt_on_either_side_of_it(metering: Metering) -> None:
    await metering.meter(kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_YEAR)
    year = 365 * 96
    await metering.ingest(columns([100], first=-year))
    for first in (-year - 96 * 200, -year + 96 * 200):
        answer = await metering.ingest(columns([7], first=first))
        assert told(answer.findings) == [(name_of(), "overlap", 1, True)]
    answer = await metering.ingest(columns([120], first=0))
    assert told(answer.findings) == []
    assert await used(metering, -2 * year, 0) == [220]
