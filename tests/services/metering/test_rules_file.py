"""The file of rules for single steps: what it changes, by medium, for readings that are polled, brought, caught up or
recorded late. What it changes for whole series is validation/test_counter_rules.py's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidInput
from fieldbus.device import Device
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from servicekit.wiring import make_server
from services.metering.app import MIGRATIONS, assemble, build
from services.metering.life import Origin, RegisterLife
from services.metering.meter import UNITS_OF, Kind, Medium, Unit
from services.metering.reading import VALUE_MAX, Status
from services.metering.settings import MeteringSettings
from services.metering.slot import SLOT_MS
from services.metering.store.lives import rules_of
from services.metering.validation.parameters import DEFAULTS, Parameters, load
from services.metering.validation.series import Series
from services.metering.validation.table import check
from services.metering.vee import RegisterRules
from tests.services.metering.field import FieldMeter, Town, Worker
from tests.services.metering.making import meter_row
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer

Run = Callable[[Parameters], Awaitable[Metering]]

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MEASURED, DOUBTFUL = int(Status.MEASURED), int(Status.DOUBTFUL)


def rules(folder: Path, text: str) -> Parameters:
    """What a file of these lines says."""
    file = folder / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def a_life(unit: Unit, ratio: int = 1, exponent: int = 0, rollover: int = 0) -> RegisterLife:
    return RegisterLife(
        key=1, uid="life", meter_uid="meter", serial_number="", installed_ms=None, removed_ms=None,
        first_reading=0, final_reading=0, origin=Origin.CREATED, ended_by=None, rollover=rollover,
        transformer_ratio=ratio, unit=unit, scale_exponent=exponent, obis_code="",
    )  # fmt: skip


# What is known of a register


@pytest.mark.parametrize(("medium", "unit"), [(medium, unit) for medium, units in UNITS_OF.items() for unit in units])
def test_without_a_file_every_register_is_judged_by_the_numbers_that_stand_in_the_code(
    medium: Medium, unit: Unit
) -> None:
    row = meter_row(medium=int(medium), unit=int(unit), kind=int(Kind.COUNTER), connected_load_w=7, max_flow_per_h=9)
    found = rules_of(row, a_life(unit, ratio=3, rollover=1000), DEFAULTS)
    load_w = 7 if unit is Unit.WH else 9
    one_count = 1 if unit in (Unit.KG, Unit.COUNT) else found.one_count
    assert found == RegisterRules(
        rollover=1000, connected_load_w=load_w, transformer_ratio=3, one_count=one_count, is_counter=True
    )
    if unit in (Unit.WH, Unit.VARH, Unit.L):
        assert (found.one_count, found.noise) == (100, 300)


def test_numbers_of_the_file_are_units_whatever_the_scale_of_the_register(tmp_path: Path) -> None:
    said = rules(
        tmp_path,
        "[small_step_back]\nlargest = 2500\nsaving_s = 60\n"
        "[negative_step]\nrestart_per_h = 5000\nrollover_permille = 50\n"
        "[spike]\nmargin_permille = 1100\nlateness_s = 30\nenabled = false\n[spike.gas]\nenabled = true\n",
    )
    found = rules_of(meter_row(connected_load_w=120_000), a_life(Unit.WH, exponent=3, rollover=10_000), said)
    assert (found.one_count, found.assumed_load, found.connected_load_w) == (3, 5, 120)
    assert (found.saving_s, found.rollover_step(), found.margin_permille) == (60, 500, 1_100)
    assert (found.lateness_ms, found.doubts_spikes) == (30_000, False)
    gas = meter_row(medium=int(Medium.GAS), unit=int(Unit.L))
    assert rules_of(gas, a_life(Unit.L), said).doubts_spikes


def test_noise_is_never_more_than_a_reading_can_be(tmp_path: Path) -> None:
    said = rules(tmp_path, "[small_step_back]\nlargest = 1_000_000_000\n")
    found = rules_of(meter_row(), a_life(Unit.WH, ratio=100_000, exponent=-6), said)
    assert found.noise == VALUE_MAX
    high = Series(
        Kind.COUNTER, "electricity", np.arange(4) * SLOT_MS, np.array([0, 100, VALUE_MAX, 200]), noise=found.noise
    )
    assert [one.rule for one in check(high)[0]] == ["negative_step"]  # it lost more than half of itself


# Brought


@pytest.fixture
async def run(issuer: Issuer, database: Database) -> AsyncIterator[Run]:
    """Starts metering with rules of its own."""
    async with AsyncExitStack() as stack:

        async def start(parameters: Parameters) -> Metering:
            return await stack.enter_async_context(running_metering(issuer, database, parameters=parameters))

        yield start


async def statuses(metering: Metering, meter_id: str = "M-1") -> list[tuple[int, int]]:
    """What is stored of a meter: values and statuses."""
    request = pb.ListReadingsRequest(
        parent=PARENT, meters=[name_of(meter_id)], start_time=stamp(-96), end_time=stamp(1)
    )
    found = (await metering.as_().ListReadings(request)).readings
    return list(zip(found.values, found.statuses, strict=True))


async def found_in(metering: Metering, meter_id: str = "M-1") -> list[tuple[str, int]]:
    """What a run of validation finds in what is stored of a meter."""
    request = pb.ValidateReadingsRequest(
        parent=PARENT,
        meters=[name_of(meter_id)],
        start_time=stamp(-96),
        end_time=stamp(1),
        rules=["negative_step", "small_step_back", "spike", "digits"],
    )
    answer = await metering.as_().ValidateReadings(request)
    return [(one.rule, one.count) for one in answer.findings]


def rules_told(answer: pb.IngestReadingsResponse) -> list[str]:
    return [one.rule for one in answer.findings]


@ONE_DATABASE
async def test_a_small_fall_that_is_brought_is_noise_by_one_file_and_a_negative_step_by_another(
    run: Run, tmp_path: Path
) -> None:
    fallen = [5_000, 5_050, 4_960, 5_100]  # below what was read before the last: no spike
    plainly = await run(DEFAULTS)
    await plainly.meter()
    assert rules_told(await plainly.ingest(columns(fallen))) == ["small_step_back"]
    strictly = await run(rules(tmp_path, "[small_step_back.electricity]\nlargest = 10\n"))
    await strictly.meter("M-2")
    assert rules_told(await strictly.ingest(columns(fallen, meter_id="M-2"))) == ["negative_step"]
    await strictly.meter("W-1", medium=pb.MEDIUM_WATER, unit=pb.UNIT_L)  # of water the file says nothing
    assert rules_told(await strictly.ingest(columns(fallen, meter_id="W-1"))) == ["small_step_back"]
    for meter_id in ("M-2", "W-1"):
        assert [status for _, status in await statuses(strictly, meter_id)] == [1, 1, DOUBTFUL, 1]


@ONE_DATABASE
async def test_what_was_taken_for_a_reset_is_noise_by_a_file_that_allows_more(run: Run, tmp_path: Path) -> None:
    fallen = [5_000, 5_400, 4_600, 4_800, 6_000]
    plainly = await run(DEFAULTS)
    await plainly.meter()
    assert rules_told(await plainly.ingest(columns(fallen))) == ["negative_step"]
    loosely = await run(rules(tmp_path, "[small_step_back]\nlargest = 900\n"))
    await loosely.meter("M-2")
    assert rules_told(await loosely.ingest(columns(fallen, meter_id="M-2"))) == ["small_step_back"]


@ONE_DATABASE
async def test_late_readings_are_judged_by_the_margin_of_the_file(run: Run, tmp_path: Path) -> None:
    # 10 kW: 7.5 kWh in a quarter hour by default, 1.1 times the load and no lateness are 2.75 kWh.
    loads = {"connected_load_w": 10_000}
    strictly = await run(rules(tmp_path, "[spike.electricity]\nmargin_permille = 1100\nlateness_s = 0\n"))
    plainly = await run(DEFAULTS)
    for metering, meter_id, late in ((plainly, "M-1", MEASURED), (strictly, "M-2", DOUBTFUL)):
        await metering.meter(meter_id, **loads)
        await metering.ingest(columns([10_000], first=-8, meter_id=meter_id))
        await metering.ingest(columns([90_000], first=-1, meter_id=meter_id))
        await metering.ingest(columns([13_000], first=-7, meter_id=meter_id))
        stored = dict(await statuses(metering, meter_id))
        assert stored[13_000] == late, meter_id


@ONE_DATABASE
async def test_a_spike_is_believed_at_ingest_and_by_validation_where_the_rule_is_off(run: Run, tmp_path: Path) -> None:
    believing = await run(rules(tmp_path, "[spike.electricity]\nenabled = 0\n"))
    await believing.meter(connected_load_w=1_000)
    answer = await believing.ingest(columns([0, 100, 900_000, 900_100]))
    assert (rules_told(answer), [status for _, status in await statuses(believing)]) == ([], [1, 1, 1, 1])
    assert await found_in(believing) == []
    plainly = await run(DEFAULTS)
    assert await found_in(plainly) == [("spike", 2)]


@ONE_DATABASE
@pytest.mark.parametrize("load", [0, 1_000])
async def test_one_wrong_reading_puts_none_after_it_in_doubt_where_no_spike_is_doubted(
    run: Run, tmp_path: Path, load: int
) -> None:
    believing = await run(rules(tmp_path, "[spike.electricity]\nenabled = 0\n"))
    await believing.meter(connected_load_w=load)
    answer = await believing.ingest(columns([0, 100, 5_000_000, 200, 300, 400]))
    assert rules_told(answer) == ["negative_step"]
    assert [value for value, status in await statuses(believing) if status == DOUBTFUL] == [5_000_000]


@ONE_DATABASE
async def test_a_run_of_validation_finds_by_the_numbers_of_its_file_in_what_others_have_stored(
    run: Run, tmp_path: Path
) -> None:
    # Put there by a person: what people say no rule puts in doubt, and a run of validation tells of it.
    plainly = await run(DEFAULTS)
    await plainly.meter()
    await plainly.ingest(columns([5_000, 5_050, 5_110, 5_200]))
    edit = pb.EditReadingsRequest(
        name=name_of(), slots_unix_ms=[columns([0], first=-6).slots_unix_ms[0]], values=[4_960]
    )
    edit.reason = "the display"
    await plainly.as_().EditReadings(edit)
    assert await found_in(plainly) == [("small_step_back", 1)]
    strictly = await run(rules(tmp_path, "[small_step_back]\nlargest = 0\n"))
    assert await found_in(strictly) == [("negative_step", 1)]


@ONE_DATABASE
async def test_a_rollover_without_a_known_load_is_a_step_that_the_file_allows(run: Run, tmp_path: Path) -> None:
    rolled = [850, 900, 150, 200]  # a quarter of the register in one step
    plainly = await run(DEFAULTS)
    await plainly.meter(rollover=1_000)
    assert rules_told(await plainly.ingest(columns(rolled))) == ["negative_step"]
    loosely = await run(rules(tmp_path, "[negative_step]\nrollover_permille = 300\n"))
    await loosely.meter("M-2", rollover=1_000)
    assert rules_told(await loosely.ingest(columns(rolled, meter_id="M-2"))) == []
    assert [status for _, status in await statuses(loosely, "M-2")] == [1, 1, 1, 1]


@ONE_DATABASE
async def test_what_an_exchange_moves_is_judged_by_the_file(run: Run, tmp_path: Path) -> None:
    values = [9_000, 9_100, 20, 60, 100]  # 100 W are 25 Wh in a quarter hour
    strictly = await run(rules(tmp_path, "[spike]\nmargin_permille = 1000\nlateness_s = 0\n"))
    plainly = await run(DEFAULTS)
    for metering, meter_id, moved in ((plainly, "M-1", [1, 1, 1]), (strictly, "M-2", [1, DOUBTFUL, DOUBTFUL])):
        await metering.meter(meter_id, connected_load_w=100)
        await metering.ingest(columns(values, meter_id=meter_id))
        request = pb.ExchangeMeterRequest(
            name=name_of(meter_id), exchanged_at=stamp(-6), final_reading=9_110, first_reading=0, reason="new"
        )
        await metering.as_().ExchangeMeter(request)
        found = await statuses(metering, meter_id)
        assert [status for _, status in found[2:]] == moved, meter_id


@ONE_DATABASE
async def test_a_last_reading_may_lie_below_what_was_read_by_the_noise_of_the_file(run: Run, tmp_path: Path) -> None:
    strictly = await run(rules(tmp_path, "[small_step_back]\nlargest = 10\n"))
    await strictly.meter()
    await strictly.ingest(columns([9_000, 9_100]))
    request = pb.ExchangeMeterRequest(name=name_of(), exchanged_at=stamp(-6), final_reading=9_050, reason="new")
    with pytest.raises(InvalidInput, match="9050 is less than the 9100"):
        await strictly.as_().ExchangeMeter(request)
    plainly = await run(DEFAULTS)
    await plainly.as_().ExchangeMeter(request)


@ONE_DATABASE
async def test_an_installation_is_held_against_the_margin_of_the_file(run: Run, tmp_path: Path) -> None:
    strictly = await run(rules(tmp_path, "[spike]\nmargin_permille = 1000\nlateness_s = 0\n"))
    await strictly.meter(connected_load_w=1_000)
    await strictly.ingest(columns([600], first=-4))
    request = pb.InstallMeterRequest(name=name_of(), installed_at=stamp(-6), first_reading=0)
    with pytest.raises(InvalidInput, match="more than its connected load"):
        await strictly.as_().InstallMeter(request)
    await (await run(DEFAULTS)).as_().InstallMeter(request)


@ONE_DATABASE
async def test_an_estimate_says_of_a_small_fall_that_it_is_noise_as_the_file_has_it(run: Run, tmp_path: Path) -> None:
    async def unfilled(metering: Metering) -> str:
        request = pb.EstimateReadingsRequest(
            name=name_of(), start_time=stamp(-8), end_time=stamp(0), method=pb.ESTIMATION_METHOD_LINEAR, dry_run=True,
            reason="a hole",
        )  # fmt: skip
        [sentence] = (await metering.as_().EstimateReadings(request)).unfilled
        return str(sentence)

    plainly = await run(DEFAULTS)
    await plainly.meter(reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await plainly.ingest(columns([5_000, 5_100]))
    edit = pb.EditReadingsRequest(name=name_of(), slots_unix_ms=columns([0], first=-1).slots_unix_ms, values=[5_050])
    edit.reason = "the display"
    await plainly.as_().EditReadings(edit)
    assert "no more than noise" in await unfilled(plainly)
    strictly = await run(rules(tmp_path, "[small_step_back]\nlargest = 10\n"))
    assert "record the exchange" in await unfilled(strictly)


# Polled


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


@pytest.fixture
async def workers() -> AsyncIterator[list[Worker]]:
    """Whoever polls here; all are killed at the end."""
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


async def losing(meter: FieldMeter, worker: Worker, wh: int) -> None:
    """Two quarter hours; a fall below the last reading by so much; two more, which do not make up for it."""
    meter.load_w = 400
    await worker.quarter_hours(2)
    meter.begin_anew(meter.counter_wh - 100 - wh)
    await worker.quarter_hours(2)


@ONE_DATABASE
@pytest.mark.parametrize(
    ("text", "expected", "lives"),
    [
        ("", [1, 1, 3, 3], 1),
        ("[small_step_back.water]\nlargest = 10\nsaving_s = 0\n", [1, 1, 3, 3], 1),
        ("[small_step_back.electricity]\nlargest = 10\nsaving_s = 0\n", [1, 1, 1, 1], 2),
    ],
)
async def test_a_polled_fall_is_noise_by_one_file_and_a_reset_by_another(
    town: Town, workers: list[Worker], tmp_path: Path, text: str, expected: list[int], lives: int
) -> None:
    meter = await town.add()  # 10 kW: in five minutes 833 Wh
    workers.append(Worker(town, parameters=rules(tmp_path, text)))
    await losing(meter, workers[-1], 500)
    assert (await town.readings()).status.tolist() == expected
    assert len(await town.lives()) == lives


@ONE_DATABASE
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [1, 3, 3]),
        ("[spike]\nmargin_permille = 4000\n", [1, 1, 1]),
        ("[spike]\nenabled = 0\n[spike.water]\nenabled = 1\n", [1, 1, 1]),
    ],
)
async def test_a_polled_step_above_the_load_is_doubted_as_the_file_says(
    town: Town, workers: list[Worker], tmp_path: Path, text: str, expected: list[int]
) -> None:
    meter = await town.add()
    workers.append(Worker(town, parameters=rules(tmp_path, text)))
    await workers[-1].quarter_hours(1)
    meter.begin_anew(meter.counter_wh + 14_000)  # 10 kW allow 7.5 kWh, four times as much 20
    await workers[-1].quarter_hours(2)
    assert (await town.readings()).status.tolist() == expected


@ONE_DATABASE
async def test_a_worker_that_starts_with_another_file_judges_by_it(
    town: Town, workers: list[Worker], tmp_path: Path
) -> None:
    meter = await town.add()
    workers.append(Worker(town))
    await workers[-1].quarter_hours(1)
    await workers[-1].kill()
    workers.append(Worker(town, parameters=rules(tmp_path, "[small_step_back]\nlargest = 10\nsaving_s = 0\n")))
    await losing(meter, workers[-1], 500)
    assert len(await town.lives()) == 2


# At start


def settings_of(folder: Path, text: str) -> MeteringSettings:
    file = folder / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return MeteringSettings(
        listen="127.0.0.1:0",
        metrics_listen="off",
        data_dir=folder,
        registry_address="127.0.0.1:1",
        validation_rules=file,
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[small_step_back]\nlargest = -1\n", "small_step_back.largest: -1 is not between 0 and"),
        ("[small_step_back.gas]\nsaving_s = 90000\n", "small_step_back.gas.saving_s: 90000 is not between 0 and 86400"),
        ("[negative_step]\nrollover_permille = 501\n", "negative_step.rollover_permille: 501 is not between 0 and 500"),
        ("[spike]\nmargin_permille = 0\n", "spike.margin_permille: 0 is not between 1 and"),
        ("[spike]\nlateness_s = 1.5\n", "spike.lateness_s: 1.5 is not a whole number"),
        ("[small_step_back]\nsmallest = 3\n", "small_step_back.smallest: is no parameter"),
    ],
)
async def test_a_number_that_cannot_be_keeps_the_service_from_starting_and_is_named(
    tmp_path: Path, text: str, wrong: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await build(settings_of(tmp_path, text))
    assert wrong in str(caught.value)


async def test_what_polls_brings_and_catches_up_in_the_service_has_the_numbers_of_its_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "[small_step_back]\nlargest = 7\n")
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    assert server.registry_channel is not None

    def nothing_hangs_there(url: str, profile: str, **more: object) -> Device:
        raise InvalidInput.of("url", f"{url} leads nowhere")

    polling = assemble(server, settings, server.registry_channel, opener=nothing_hangs_there)  # type: ignore[arg-type]
    assert polling is not None
    said: Sequence[Any] = (polling.book, polling.recorder, polling.poller._resets)
    assert [one._parameters.of("small_step_back", "electricity")["largest"] for one in said] == [7, 7, 7]
    await server.stop(0)
