"""A whole lighting night, noon to noon, in time-lapse through the real processes and protocols.

The town is lit by its plan through Modbus and OPC UA, an override comes and goes, a locked-out feeder stays untouched,
every meter is read on every quarter hour, the night's saving is posted and the book proven; then the book is falsified.
The simulator's own truth judges all of it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio
from astral import Observer
from astral.sun import sunrise, sunset

from cli.demo import inventory as demo
from cli.demo.layout import SERVICES
from cli.demo.seed import seed
from domain.night import local_instant, quarter_hours
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from tests.support.night import SETTLED, STEP, Night, entry_of, judge_levels, live_through
from tests.support.town import Town, run_command
from tests.support.warm_command import Done

BERLIN = ZoneInfo("Europe/Berlin")
SPEED = 600.0
NOON_IN_S = 45.0
"""So small a town is set up sooner than the demonstration's."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Night]:
    """The town after its night."""
    folder = tmp_path_factory.mktemp("night")
    async with Town.make(
        folder, speed=SPEED, noon_in_s=NOON_IN_S, luminaires=300, cabinets=6, monitored=3, buildings=2
    ) as town:
        await town.start_everything()
        noon, end = await town.next_night()
        yield await live_through(Night(town, noon, end))


async def test_every_lamp_follows_its_plan_at_every_switch_point(night: Night) -> None:
    wrong, judged = await judge_levels(night)
    assert wrong == []
    assert judged > 8 * len(night.lamps())


async def test_the_override_wins_and_ends_by_itself(night: Night) -> None:
    assert night.override is not None
    lamp = next(item for item in night.lamps() if demo.group_of(item) == "residential" and not item["crossing"]
                and item["feeder"] != night.locked_feeder)  # fmt: skip
    expires = night.override.expire_time.ToDatetime(tzinfo=UTC)
    during = await night.town.levels_at(expires - timedelta(minutes=20))
    after = await night.town.levels_at(expires + SETTLED)
    assert during[lamp["id"]] == pytest.approx(900, rel=STEP)
    assert after[lamp["id"]] == pytest.approx(500, rel=STEP)


async def test_a_locked_out_feeder_stays_untouched(night: Night) -> None:
    assert night.locked_at is not None
    writes = await night.town.simulator("/writes", feeder=night.locked_feeder, since=night.locked_at.isoformat())
    assert writes["matching"] == 0, writes["writes"][:5]
    midnight = local_instant(night.noon.astimezone(BERLIN).date() + timedelta(days=1), time(0), BERLIN)
    levels = await night.town.levels_at(midnight)
    dark = [lamp["id"] for lamp in night.lamps() if lamp["feeder"] == night.locked_feeder]
    assert dark
    assert all((levels[lamp] or 0) == 0 for lamp in dark)


async def test_only_one_master_wrote(night: Night) -> None:
    # A peer is a connection. One master may lose its connection and make another, but the old one never writes again;
    # two masters would write in turns.
    writes = (await night.town.simulator("/writes"))["writes"]
    turns: dict[str, list[str]] = {}
    for record in writes:
        peers = turns.setdefault(record["endpoint"], [])
        if not peers or peers[-1] != record["peer"]:
            peers.append(record["peer"])
    assert len(turns) >= len(night.town.inventory["cabinets"])
    assert {endpoint: peers for endpoint, peers in turns.items() if len(peers) != len(set(peers))} == {}


async def test_every_slot_is_stored_once_and_is_what_the_meter_said(night: Night) -> None:
    viewer = await night.town.session("viewer")
    slots = [*quarter_hours(night.noon, night.end), night.end]
    truth = {slot: await night.town.meters_at(slot) for slot in [*slots, night.end + timedelta(minutes=15)]}
    request = metering_pb2.ListReadingsRequest(
        parent=demo.PARENT,
        start_time=timestamp_to_proto(night.noon),
        end_time=timestamp_to_proto(night.end + timedelta(seconds=1)),
        page_size=10_000,
    )
    answer = await viewer.metering.ListReadings(request)
    await viewer.close()
    assert not answer.next_page_token
    found: dict[tuple[str, int], int] = {}
    for index, meter_index in enumerate(answer.readings.meter_indexes):
        key = (answer.readings.meters[meter_index].rsplit("/", 1)[-1], answer.readings.slots_unix_ms[index])
        assert key not in found, f"{key} is stored twice"
        assert answer.readings.statuses[index] == metering_pb2.READING_STATUS_MEASURED
        found[key] = answer.readings.values[index]
    for meter in night.town.inventory["meters"]:
        for slot in slots:
            value = found[meter["id"], round(slot.timestamp() * 1000)]
            # Read some domain seconds after the slot: not before its counter, not after the next slot's.
            # The meter shows whole steps of its last digit.
            low, high = truth[slot][meter["id"]], truth[slot + timedelta(minutes=15)][meter["id"]]
            assert low - 20 <= value <= high + 20, (meter["id"], slot, low, value, high)


async def test_the_night_s_energy_is_the_meters_own_within_a_thousandth(night: Night) -> None:
    entry = await entry_of(night, "led-metered")
    begin, end = await night.town.meters_at(night.noon), await night.town.meters_at(night.end)
    metered = [meter["id"] for meter in night.town.inventory["meters"] if meter["cabinet"]]
    truth = sum(end[meter] - begin[meter] for meter in metered)
    assert entry.coverage_permille == 1000
    assert entry.actual_wh == pytest.approx(truth, rel=0.001)
    assert entry.saved_wh == entry.baseline_wh - entry.actual_wh
    assert entry.saved_wh > 0


async def test_the_energy_of_unmetered_cabinets_follows_from_their_levels(night: Night) -> None:
    entry = await entry_of(night, "led-unmetered")
    metered = {meter["cabinet"] for meter in night.town.inventory["meters"] if meter["cabinet"]}
    lamps = [lamp["id"] for lamp in night.lamps() if lamp["cabinet"] not in metered]
    truth = sum(night.lamp_wh[1][lamp] - night.lamp_wh[0][lamp] for lamp in lamps)
    assert entry.actual_wh == pytest.approx(truth, rel=0.01)


async def test_the_baseline_is_the_stated_computation(night: Night) -> None:
    entry = await entry_of(night, "led-metered")
    metered = {meter["cabinet"] for meter in night.town.inventory["meters"] if meter["cabinet"]}
    evening: date = night.noon.astimezone(BERLIN).date()
    half_past_ten = local_instant(evening, time(22, 30), BERLIN)
    expected = 0.0
    for lamp in night.lamps():
        if lamp["cabinet"] not in metered:
            continue
        place = Observer(lamp["latitude"], lamp["longitude"])
        lit = sunset(place, evening)
        dark = (
            half_past_ten if lamp["previous"]["regime"] == "half-night" else sunrise(place, evening + timedelta(days=1))
        )
        watts = lamp["previous"]["lamp_w"] + lamp["previous"]["ballast_w"]
        expected += watts * (dark - lit).total_seconds() / 3600
    # Another library's sun: up to a minute apart at each end of the night.
    assert entry.baseline_wh == pytest.approx(expected, rel=0.004)
    assert entry.full_level_reference_wh > entry.actual_wh
    assert "22:30" in entry.computation


async def test_a_building_is_posted_against_its_stated_baseline(night: Night) -> None:
    measure_name = f"{demo.PARENT}/measures/building-b-1"
    admin = await night.town.session("admin")
    try:
        measure = await admin.ledger.GetMeasure(ledger_pb2.GetMeasureRequest(name=measure_name))
        posted = await admin.ledger.ListEntries(ledger_pb2.ListEntriesRequest(parent=measure_name))
        # A whole local day posts itself once it is over; until then an afternoon is posted by hand.
        entry = posted.entries[0] if posted.entries else await admin.ledger.PostEntry(
            ledger_pb2.PostEntryRequest(
                parent=measure_name,
                start_time=timestamp_to_proto(night.noon),
                end_time=timestamp_to_proto(night.noon + timedelta(hours=6)),
            ),
            timeout=60,
        )  # fmt: skip
    finally:
        await admin.close()
    begin, end = entry.start_time.ToDatetime(tzinfo=UTC), entry.end_time.ToDatetime(tzinfo=UTC)
    truth = (await night.town.meters_at(end))["M-B1"] - (await night.town.meters_at(begin))["M-B1"]
    day = begin.astimezone(BERLIN).date()
    stated = measure.stated.weekday_wh if day.weekday() < 5 else measure.stated.weekend_wh
    assert entry.actual_wh == pytest.approx(truth, rel=0.02)
    assert entry.baseline_wh == pytest.approx(stated[day.month - 1] * ((end - begin) / timedelta(days=1)), abs=1)


async def lichtbuch(night: Night, user: str, *arguments: str) -> Done:
    """The command, as a person runs it."""
    return await run_command(night.town, user, *arguments)


SHOWN = """
lamps; cabinets; groups; meters; consumption --step day; level list --all; lockout list; profile list; readings list
balance; ledger measures; ledger entries; ledger statement; whoami
"""


@pytest.mark.parametrize(
    "arguments",
    [tuple(words.split()) for words in SHOWN.replace("\n", ";").split(";") if words.strip()],
    ids=" ".join,
)
async def test_the_command_shows_it_as_a_table_and_as_json(night: Night, arguments: tuple[str, ...]) -> None:
    table, document = await asyncio.gather(
        lichtbuch(night, "auditor", *arguments), lichtbuch(night, "auditor", *arguments, "--json")
    )
    assert table.returncode == 0, table.stderr
    assert table.stdout.strip()
    assert document.returncode == 0, document.stderr
    assert json.loads(document.stdout)


async def test_a_town_that_is_there_is_set_up_once_more_and_stays_as_it_is(night: Night) -> None:
    """Who starts the demonstration again finds the town of before."""
    shown = [await lichtbuch(night, "auditor", *words.split(), "--json") for words in ("lamps", "meters", "cabinets")]
    said: list[str] = []
    await seed(night.town.layout, said.append)
    assert any("(0 new)" in line for line in said if line.startswith("lighting")), said
    again = [await lichtbuch(night, "auditor", *words.split(), "--json") for words in ("lamps", "meters", "cabinets")]
    assert [ids(each) for each in again] == [ids(each) for each in shown]


def ids(done: Done) -> list[str]:
    """What a list shows: the first that stands of each is its id."""
    assert done.returncode == 0, done.stderr
    return [str(next(iter(item.values()))) for item in json.loads(done.stdout)]


async def test_a_night_in_which_nothing_breaks_leaves_no_fault_in_the_book(night: Night) -> None:
    done = await lichtbuch(night, "viewer", "faults", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


async def test_what_lamps_must_have_drawn_agrees_with_the_meters(night: Night) -> None:
    evening = night.noon.astimezone(BERLIN).date().isoformat()
    done = await lichtbuch(night, "auditor", "balance", "--from", evening, "--tolerance", "2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["cabinet"] for row in rows} == {m["cabinet"] for m in night.town.inventory["meters"] if m["cabinet"]}
    assert {row["verdict"] for row in rows} == {"agrees"}, rows


async def test_readings_are_exported_as_csv(night: Night, tmp_path: Path) -> None:
    file = tmp_path / "readings.csv"
    done = await lichtbuch(night, "viewer", "readings", "export", "--meter", "M-B1", "--output", str(file))
    assert done.returncode == 0, done.stderr
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "meter,slot,value,unit,status,source,observed_at,revision"
    assert len(lines) > 90


async def test_every_service_can_be_scraped(night: Night) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        for service in SERVICES:
            url = f"http://127.0.0.1:{night.town.layout.ports[f'{service}-metrics']}/metrics"
            text = (await client.get(url)).raise_for_status().text
            assert "lichtbuch_grpc_requests_total" in text
            # Never one series per luminaire: the number of series does not grow with the town.
            assert "L-0001" not in text


async def test_another_town_s_token_sees_nothing_of_this_one(night: Night) -> None:
    done = await lichtbuch(night, "fitter", "ledger", "statement")
    assert done.returncode == 5
    assert "ledger.entries.read" in done.stderr


async def test_the_book_verifies_and_fails_after_one_byte_of_an_entry_is_changed(night: Night, tmp_path: Path) -> None:
    bundle = tmp_path / "book.jsonl"
    assert (await lichtbuch(night, "auditor", "ledger", "export", str(bundle))).returncode == 0
    for arguments in (("ledger", "verify"), ("ledger", "verify", str(bundle))):
        done = await lichtbuch(night, "auditor", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    night.town.stop("ledger")
    database = night.town.layout.directory / "data" / "ledger" / "ledger.db"
    falsify_one_byte(database)
    night.town.start("ledger")
    await night.town.well("ledger")
    done = await lichtbuch(night, "auditor", "ledger", "verify", "--json")
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    assert any("leaf 0" in problem for problem in problems), problems

    text = bundle.read_text(encoding="utf-8")
    falsified = tmp_path / "falsified.jsonl"
    falsified.write_text(text.replace("saved_wh", "saved_wH", 1), encoding="utf-8")
    assert text != falsified.read_text(encoding="utf-8")
    assert (await lichtbuch(night, "auditor", "ledger", "verify", str(falsified))).returncode == 1


def falsify_one_byte(database: Path) -> None:
    """Change one byte of the first entry as somebody with the database in their hands would, past the triggers."""
    with sqlite3.connect(database) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        [(row, data)] = connection.execute('SELECT rowid, data FROM leaf ORDER BY "index" LIMIT 1').fetchall()
        position = data.index(b'"saved_wh":') + len(b'"saved_wh":')
        digit = b"1" if data[position : position + 1] != b"1" else b"2"
        changed = data[:position] + digit + data[position + 1 :]
        connection.execute("UPDATE leaf SET data = ? WHERE rowid = ?", (changed, row))
