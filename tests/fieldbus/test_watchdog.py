"""While we live the controller's heartbeat moves; when we stop it stands still and the controller falls back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldbus.client import Fieldbus
from fieldbus.ownership import owned_by_another, rule_to_watch
from fieldbus.profile import Profile, WatchdogMode, WatchdogRule
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Direction
from fieldbus.watchdog import GuardedDevice, Watchdog, rule_to_keep
from tests.fieldbus.conftest import Serve
from tests.fieldbus.servers import PymodbusServer, eventually
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port

RULE = WatchdogRule("heartbeat", 0.02, WatchdogMode.COUNT, "heartbeat_timeout", 60.0)
WRITES = (5, 6, 15, 16)


def cabinet_profile(rule: WatchdogRule | None) -> Profile:
    return replace(load_profile("cabinet-plc"), watchdog=rule)


def cabinet(fieldbus: Fieldbus, url: str, rule: WatchdogRule | None = RULE) -> GuardedDevice:
    device = fieldbus.open(url, cabinet_profile(rule))
    assert hasattr(device, "profile")
    return device  # type: ignore[return-value]


def heartbeats(server: PymodbusServer) -> int:
    return len([request for request in server.requests if request[1] in WRITES and request[2] == 0])


@pytest.fixture
async def plc(serve: Serve) -> PymodbusServer:
    return await serve({1: {"holding": {0: [7, 10]}, "coil": {0: [0] * 8}}})


async def test_the_heartbeat_counts_on_from_what_the_controller_holds(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    async with Watchdog(cabinet(fieldbus, plc.url)) as watchdog:
        await eventually(lambda: plc.registers(1, "holding", 0)[0] >= 10)
        assert watchdog.health().running
        assert watchdog.health().last_error == ""
    assert plc.registers(1, "holding", 1) == [10], "the timeout wears and nobody asked for it"


async def test_when_the_watchdog_stops_the_heartbeat_stands_still(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    watchdog = Watchdog(cabinet(fieldbus, plc.url))
    await watchdog.start()
    await watchdog.start()
    await eventually(lambda: heartbeats(plc) >= 2)
    await watchdog.stop()
    await watchdog.stop()
    before = heartbeats(plc)
    assert await owned_by_another(cabinet(fieldbus, plc.url)) == ""
    assert heartbeats(plc) == before
    assert not watchdog.health().running


async def test_a_counter_that_is_full_begins_anew(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    plc.set_registers(1, "holding", 0, [65534])
    async with Watchdog(cabinet(fieldbus, plc.url)):
        await eventually(lambda: 0 < plc.registers(1, "holding", 0)[0] < 100)


async def test_a_toggle_goes_to_and_fro(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    plc.set_registers(1, "holding", 0, [0])
    seen = set()

    def both() -> bool:
        seen.add(plc.registers(1, "holding", 0)[0])
        return seen >= {0, 1} and heartbeats(plc) >= 3

    async with Watchdog(cabinet(fieldbus, plc.url, replace(RULE, mode=WatchdogMode.TOGGLE))):
        await eventually(both)
    assert seen == {0, 1}


async def test_where_any_request_will_do_nothing_is_written(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    async with Watchdog(cabinet(fieldbus, plc.url, WatchdogRule("", 0.02, WatchdogMode.TOUCH))) as watchdog:
        await eventually(lambda: watchdog.health().beats >= 3)
    assert not [request for request in plc.requests if request[1] in WRITES]


async def test_the_timeout_is_set_once_and_only_if_it_differs(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    def timeouts_written() -> int:
        return len([request for request in plc.requests if request[1] in WRITES and request[2] == 1])

    for _ in range(2):
        async with Watchdog(cabinet(fieldbus, plc.url), set_timeout=True) as watchdog:
            await eventually(lambda watchdog=watchdog: watchdog.health().beats >= 3)  # type: ignore[misc]
    assert plc.registers(1, "holding", 1) == [60]
    assert timeouts_written() == 1


async def test_a_beat_that_fails_is_told_once_and_so_is_its_return(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    told: list[str] = []
    async with Watchdog(cabinet(fieldbus, plc.url), on_change=told.append) as watchdog:
        await eventually(lambda: watchdog.health().beats >= 1)
        plc.refuse[6] = 4
        await eventually(lambda: watchdog.health().consecutive_failures >= 3)
        assert watchdog.health().last_error == "heartbeat: exception 04: device failure"
        plc.refuse.clear()
        await eventually(lambda: not watchdog.health().last_error)
    assert told == ["heartbeat: exception 04: device failure", ""]


async def test_a_dead_controller_does_not_end_the_watchdog(fieldbus: Fieldbus) -> None:
    async with Watchdog(cabinet(fieldbus, f"modbus+tcp://127.0.0.1:{free_port()}")) as watchdog:
        await eventually(lambda: watchdog.health().consecutive_failures >= 2)
        assert watchdog.health().running


def test_a_heartbeat_whose_pace_no_profile_states_is_kept_and_watched_at_the_usual_one() -> None:
    profile = cabinet_profile(None)
    assert profile.heartbeat == WatchdogRule("heartbeat", 10.0)
    assert rule_to_keep(profile) == rule_to_watch(profile) == profile.heartbeat
    readable = replace(profile.points["heartbeat"], direction=Direction.READ)
    only_shown = replace(profile, points={**profile.points, "heartbeat": readable})
    assert rule_to_keep(only_shown) is None
    assert rule_to_watch(only_shown) == profile.heartbeat
    touched = cabinet_profile(WatchdogRule("", 5.0, WatchdogMode.TOUCH))
    assert rule_to_keep(touched) == touched.watchdog
    assert rule_to_watch(touched) is None


async def test_a_device_without_a_heartbeat_is_never_written(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    device = fieldbus.open(plc.url, "generic-level-status")
    assert isinstance(device, GuardedDevice)
    async with Watchdog(device) as watchdog:
        assert not watchdog.needed
        assert not watchdog.health().running
    assert await owned_by_another(device) == ""
    assert plc.requests == []


@pytest.mark.parametrize("mode", [WatchdogMode.COUNT, WatchdogMode.TOGGLE])
async def test_a_heartbeat_that_moves_without_us_means_that_somebody_owns_the_device(
    fieldbus: Fieldbus, plc: PymodbusServer, mode: WatchdogMode
) -> None:
    rule = replace(RULE, mode=mode, interval_s=0.1)
    async with Watchdog(cabinet(fieldbus, plc.url, rule)) as owner:
        await eventually(lambda: owner.health().beats >= 1)
        # Watched for several beats: on a slow machine the writing and reading back of one takes longer than the rest.
        watched = cabinet(fieldbus, plc.url, replace(rule, interval_s=0.4))
        reason = await owned_by_another(watched, monotonic=loop_time)
    assert "another master commands this device" in reason


async def test_a_device_that_does_not_answer_is_not_called_owned(fieldbus: Fieldbus) -> None:
    assert await owned_by_another(cabinet(fieldbus, f"modbus+tcp://127.0.0.1:{free_port()}")) == ""


async def test_a_heartbeat_that_stands_still_is_nobodys(fieldbus: Fieldbus, plc: PymodbusServer) -> None:
    device = cabinet(fieldbus, plc.url)
    assert await owned_by_another(device) == ""
    assert (await device.read([PointAddress("heartbeat")])).values.tolist() == [7]
    assert heartbeats(plc) == 0


async def test_a_device_that_falls_silent_while_it_is_watched_is_left_alone(
    fieldbus: Fieldbus, plc: PymodbusServer
) -> None:
    async def stop(_: float) -> None:
        await plc.stop()

    reason = await owned_by_another(cabinet(fieldbus, plc.url), sleep=stop)
    assert "fell silent" in reason
