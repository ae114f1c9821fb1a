"""The control interface: town, truth, faults, who wrote what, and the clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulator.clock import RunningClock, instant_text
from simulator.town import town_from_json
from tests.simulator.conftest import NOON, Bench

GATEWAY = 2


async def get(bench: Bench, path: str, **query: Any) -> Any:
    answer = await bench.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(bench: Bench, path: str, document: Any, status: int) -> Any:
    answer = await bench.http.post(path, json=document)
    assert answer.status_code == status, answer.text
    return answer.json()


async def inject(bench: Bench, **fault: Any) -> str:
    return str((await post(bench, "/faults", fault, 201))["id"])


async def level(client: AsyncModbusTcpClient, gear: int, percent: int) -> None:
    assert not (await client.write_register(100 * gear + 15, percent, device_id=GATEWAY)).isError()


# --- the town and its truth -------------------------------------------------------------------------------------------


async def test_the_town_is_answered_with_urls_and_can_be_read_back(bench: Bench) -> None:
    town = town_from_json(await get(bench, "/town"))
    assert town == bench.town
    url = {e.id: e.url for e in town.endpoints}
    assert url["C-001-gw"].startswith("modbus+tcp://127.0.0.1:")
    assert url["C-001-gw"].endswith("?unit=2")
    assert url["C-001-plc"].split("?")[0] == url["C-001-gw"].split("?")[0]


async def test_the_truth_about_luminaires_is_told_now_and_for_a_past_instant(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await level(client, 0, 60)
    bench.step(600.0)
    await level(client, 0, 20)
    bench.step(600.0)
    now = (await get(bench, "/truth/luminaires", cabinet="C-001"))["luminaires"]
    assert len(now) == 8
    assert (now[0]["id"], now[0]["level_permille"], now[0]["energised"]) == ("L-0001", 200.0, True)
    past = await get(bench, "/truth/luminaires", at=instant_text(NOON + 500))
    assert past["luminaires"][0] == {"id": "L-0001", "level_permille": 600.0}
    client.close()


async def test_exact_counters_of_past_quarter_hours_can_be_asked_for(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await level(client, 0, 100)
    bench.step(10_000.0)
    energies = [
        (await get(bench, "/truth/meters", at=instant_text(NOON + slot)))["meters"][0]["energy_wh"]
        for slot in (0, 900, 1800)
    ]
    assert energies[2] - energies[1] == pytest.approx(
        bench.world.lamps.power_w(bench.world.now)[
            [i for i, x in enumerate(bench.town.luminaires) if x.cabinet == "C-001"]
        ].sum()
        / 4
    )
    lamps = await get(bench, "/truth/luminaires/energy", at="2026-11-22T12:00:00+00:00")
    assert set(lamps["energy_wh"]) == {lamp.id for lamp in bench.town.luminaires}
    client.close()


@pytest.mark.parametrize("at", ["2026-11-22T11:07:00Z", "2030-01-01T00:00:00Z", "2026-11-22T12:00:00", "yesterday"])
async def test_an_instant_that_cannot_be_answered_for_is_refused(bench: Bench, at: str) -> None:
    bench.step(7_200.0)
    answer = await bench.http.get("/truth/meters", params={"at": at})
    assert answer.status_code == 400
    assert answer.json()["violations"][0]["field"] == "at"


async def test_the_clock_can_be_stepped_where_it_stands_still(bench: Bench) -> None:
    assert (await post(bench, "/clock/advance", {"seconds": 90}, 200))["now"] == instant_text(NOON + 90)
    assert (await get(bench, "/clock"))["speed"] == 0
    await post(bench, "/clock/advance", {"seconds": -1}, 400)
    await post(bench, "/clock/advance", {"seconds": "long"}, 400)


async def test_a_running_clock_follows_the_time_lapse_of_the_domain(bench: Bench) -> None:
    from domain.timelapse import TimeLapse

    anchor = datetime.now(UTC) - timedelta(seconds=10)
    clock = RunningClock(TimeLapse(datetime(2026, 11, 22, tzinfo=UTC), anchor, 600.0))
    before = clock.lapse.at(datetime.now(UTC)).timestamp()
    now = clock.now_s()
    rounding_s = 600 * 1e-6  # an instant holds microseconds, and each is worth six hundred here
    assert before - rounding_s <= now <= clock.lapse.at(datetime.now(UTC)).timestamp() + rounding_s


# --- who wrote what ---------------------------------------------------------------------------------------------------


async def test_two_masters_are_told_apart_by_their_addresses(bench: Bench) -> None:
    one, two = await bench.modbus("C-001-gw"), await bench.modbus("C-001-gw")
    for client in (one, two, two):
        await level(client, 0, 40)
    document = await get(bench, "/writes", cabinet="C-001", kind="level")
    assert len({w["peer"] for w in document["writes"]}) == 2
    assert sorted(c["count"] for c in document["counts"] if c["kind"] == "level") == [1, 2]
    first = document["writes"][0]
    assert (first["endpoint"], first["register"], first["values"]) == ("C-001-gw", "holding 15", [40.0])
    assert first["at"] == "2026-11-22T11:00:00Z"
    one.close()
    two.close()


async def test_writes_to_a_feeder_are_found_whether_to_its_contactor_or_to_its_lamps(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await client.write_coil(0, True, device_id=1)
    bench.step(60.0)
    await client.write_register(6800, 50, device_id=GATEWAY)
    await level(client, 0, 10)
    found = (await get(bench, "/writes", feeder="C-001-F2"))["writes"]
    assert [w["kind"] for w in found] == ["contactor", "level"]
    assert found[1]["luminaires"] == 8
    later = await get(bench, "/writes", feeder="C-001-F2", since=instant_text(NOON + 30))
    assert later["matching"] == 1
    after = await get(bench, "/writes", after=found[1]["sequence"])
    assert [w["register"] for w in after["writes"]] == ["holding 15"]
    client.close()


async def test_requests_are_counted_by_endpoint(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await level(client, 0, 10)
    await client.read_coils(9, count=1, device_id=1)
    rows = {row["endpoint"]: row for row in (await get(bench, "/traffic"))["endpoints"]}
    assert (rows["C-001-gw"]["requests"], rows["C-001-gw"]["exceptions"]) == (1, 0)
    assert (rows["C-001-plc"]["requests"], rows["C-001-plc"]["exceptions"]) == (1, 1)
    client.close()


# --- faults -----------------------------------------------------------------------------------------------------------


async def truth(bench: Bench, luminaire: str) -> dict[str, Any]:
    rows = (await get(bench, "/truth/luminaires"))["luminaires"]
    return next(row for row in rows if row["id"] == luminaire)


async def test_a_lamp_failure_comes_and_goes(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await level(client, 0, 100)
    bench.step(60.0)
    fault = await inject(bench, kind="lamp_failure", luminaire="L-0001")
    lamp = await truth(bench, "L-0001")
    assert (lamp["lamp_failure"], lamp["level_permille"]) == (True, 0.0)
    assert [f["id"] for f in (await get(bench, "/faults"))["faults"]] == [fault]
    assert (await bench.http.delete("/faults", params={"id": fault})).json() == {"cleared": 1}
    lamp = await truth(bench, "L-0001")
    assert (lamp["lamp_failure"], lamp["level_permille"]) == (False, 1000.0)
    client.close()


async def test_failed_gear_is_dark_and_comes_back_at_its_power_on_level(bench: Bench) -> None:
    await inject(bench, kind="gear_failure", luminaire="L-0001")
    assert (await truth(bench, "L-0001"))["gear_failure"] is True
    await bench.http.delete("/faults")
    assert (await truth(bench, "L-0001"))["level_permille"] == 1000.0


async def test_a_day_burner_is_a_lamp_that_will_not_go_out_or_a_welded_contactor(bench: Bench) -> None:
    await inject(bench, kind="day_burner", luminaire="L-0001")
    await inject(bench, kind="day_burner", feeder="C-001-F2")
    assert (await truth(bench, "L-0001"))["level_permille"] == 1000.0
    (cabinet, *_) = (await get(bench, "/truth/cabinets"))["cabinets"]
    assert (cabinet["feeders"][0]["command"], cabinet["feeders"][0]["closed"]) == (False, True)
    await bench.http.delete("/faults")
    (cabinet, *_) = (await get(bench, "/truth/cabinets"))["cabinets"]
    assert cabinet["feeders"][0]["closed"] is False


async def test_a_contactor_that_sticks_open_and_a_tripped_breaker_keep_the_feeder_dead(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    lamp = next(x.id for x in bench.town.luminaires if x.feeder == "C-001-F2")
    for kind in ("contactor_stuck_open", "breaker_tripped"):
        await inject(bench, kind=kind, feeder="C-001-F2")
        await client.write_coil(0, True, device_id=1)
        assert (await truth(bench, lamp))["energised"] is False
        await bench.http.delete("/faults")
        assert (await truth(bench, lamp))["energised"] is True
    client.close()


async def test_switch_door_and_mains_of_a_cabinet(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    await inject(bench, kind="hand_switch", cabinet="C-001", position="hand")
    await inject(bench, kind="door_open", cabinet="C-001")
    assert (await client.read_input_registers(0, count=1, device_id=1)).registers == [0]
    bits = (await client.read_discrete_inputs(0, count=18, device_id=1)).bits
    assert (bits[0], bits[16], bits[17]) == (True, True, True)
    await bench.http.delete("/faults")
    assert (await client.read_input_registers(0, count=1, device_id=1)).registers == [2]
    client.close()


async def test_without_mains_a_cabinet_is_dark_silent_and_unmetered_until_they_return(bench: Bench) -> None:
    before = bench.world.meters["M-001"].total_wh(NOON)
    await inject(bench, kind="supply_loss", cabinet="C-001")
    bench.step(3_600.0)
    assert bench.world.meters["M-001"].total_wh(bench.world.now) == before
    client = await bench.modbus("M-001-tcp")
    bench_traffic = (await get(bench, "/traffic"))["endpoints"]
    assert not any(row.get("requests") for row in bench_traffic)
    await bench.http.delete("/faults")
    assert not (await client.read_input_registers(0x48, count=2, device_id=1)).isError()
    # Gear on the permanent feeder starts as after every return of supply.
    assert (await truth(bench, "L-0001"))["level_permille"] == 1000.0
    client.close()


async def test_a_controller_with_a_battery_says_that_the_mains_are_gone(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    await inject(bench, kind="supply_loss", cabinet="C-001", mode="buffered")
    bits = (await client.read_discrete_inputs(0, count=18, device_id=1)).bits
    assert bits[17] is False
    assert (await truth(bench, "L-0001"))["energised"] is False
    client.close()


async def test_a_counter_reset_and_a_meter_exchange_show_in_the_truth(bench: Bench) -> None:
    await inject(bench, kind="counter_reset", meter="M-001")
    await inject(bench, kind="meter_exchange", meter="M-B1", serial="NEW-7", start_wh=12_000)
    rows = {row["id"]: row for row in (await get(bench, "/truth/meters"))["meters"]}
    assert (rows["M-001"]["energy_wh"], rows["M-001"]["life"]) == (0.0, 1)
    assert (rows["M-B1"]["energy_wh"], rows["M-B1"]["serial"]) == (12_000.0, "NEW-7")
    assert (await get(bench, "/faults"))["faults"] == []


async def test_a_meter_and_a_sensor_that_know_nothing_say_so(bench: Bench) -> None:
    await inject(bench, kind="meter_unavailable", meter="M-B2")
    await inject(bench, kind="sensor_failure", sensor="LS-1")
    meter, sensor = await bench.modbus("M-B2-tcp"), await bench.modbus("LS-1-tcp")
    assert (await meter.read_holding_registers(0x5000, count=1, device_id=1)).registers == [0xFFFF]
    assert (await sensor.read_input_registers(2, count=1, device_id=1)).registers == [1]
    meter.close()
    sensor.close()


async def test_faults_of_a_cabinet_and_of_one_endpoint_hold_together_and_end_apart(bench: Bench) -> None:
    wrong = await inject(bench, kind="wrong_answer", endpoint="C-001-gw", mode="exception", code=6)
    dead = await inject(bench, kind="dead_gateway", cabinet="C-001", mode="no-target")
    client = await bench.modbus("C-001-gw")

    async def code(unit: int) -> int:
        return int((await client.read_holding_registers(0, count=1, device_id=unit)).exception_code)

    assert (await code(1), await code(2)) == (0x0B, 6)
    await bench.http.delete("/faults", params={"id": wrong})
    assert (await code(1), await code(2)) == (0x0B, 0x0B)
    await bench.http.delete("/faults", params={"id": dead})
    assert (await code(1), await code(2)) == (0, 0)
    client.close()


async def test_a_refusing_cabinet_takes_all_its_units_along_and_comes_back(bench: Bench) -> None:
    await inject(bench, kind="dead_gateway", cabinet="C-001", mode="refuse")
    with pytest.raises(AssertionError):
        await bench.modbus("C-001-plc")
    await bench.http.delete("/faults")
    client = await bench.modbus("C-001-plc")
    assert not (await client.read_coils(0, count=1, device_id=1)).isError()
    client.close()


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"kind": "earthquake"}, "kind"),
        ({"kind": "lamp_failure"}, "luminaire"),
        ({"kind": "lamp_failure", "luminaire": 7}, "luminaire"),
        ({"kind": "lamp_failure", "luminaire": "L-0001", "colour": "red"}, "colour"),
        ({"kind": "hand_switch", "cabinet": "C-001", "position": "up"}, "position"),
        ({"kind": "slow_gateway", "cabinet": "C-001"}, "delay_s"),
        ({"kind": "slow_gateway", "cabinet": "C-001", "delay_s": -1}, "delay_s"),
        ({"kind": "wrong_answer", "cabinet": "C-001", "mode": "rude"}, "mode"),
        ({"kind": "breaker_tripped", "feeder": "C-001-F1"}, "feeder"),
        ([], "fault"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_by_field(bench: Bench, fault: Any, field: str) -> None:
    answer = await bench.http.post("/faults", json=fault)
    assert answer.status_code == 400
    assert field in [v["field"] for v in answer.json()["violations"]]
    assert (await get(bench, "/faults"))["faults"] == []


async def test_a_fault_of_something_that_is_not_there_is_not_found(bench: Bench) -> None:
    await post(bench, "/faults", {"kind": "lamp_failure", "luminaire": "L-9999"}, 404)
    assert (await bench.http.delete("/faults", params={"id": "F99"})).status_code == 404


async def test_a_body_that_is_no_json_or_too_large_is_refused(bench: Bench) -> None:
    assert (await bench.http.post("/faults", content=b"{")).status_code == 400
    assert (await bench.http.post("/faults", content=b" " * 100_000)).status_code == 400
