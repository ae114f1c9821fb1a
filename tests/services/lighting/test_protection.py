"""What lamps do by themselves is written where it differs, read back, and listed where it is not assured."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from domain.errors import InvalidInput, NotPermitted
from lichtbuch.lighting.v1 import commissioning_pb2 as com
from services.lighting.commissioning import Protector, protect
from services.lighting.control import Control
from services.lighting.field import Link
from services.lighting.ground import Ground
from services.lighting.records import EndpointState, ProtectionSeen, ProtectionWish
from services.lighting.store.commissioning_tables import ProtectionRow
from tests.services.lighting.bench import Bench
from tests.services.lighting.fake_town import OFF
from tests.services.lighting.running import FITTER, Lighting, T
from tests.services.lighting.test_control import NIGHT
from tests.services.lighting.test_simulated_town import Night

STATES = com.ProtectionState


async def visit(control: Control, gateway: str, wishes: list[ProtectionWish]) -> dict[str, ProtectionSeen]:
    """What a visit at a gateway finds, by luminaire."""
    seen: list[ProtectionSeen] = []

    async def errand(ground: Ground, link: Link) -> None:
        seen.extend(await protect(ground, link, wishes))

    assert await control.lend(gateway, errand)
    return {one.luminaire_uid: one for one in seen}


def wishes_of(bench: Bench, power_on: int = 1000, loss: int = 1000) -> list[ProtectionWish]:
    """Every lamp of gateway 0 is to take these levels."""
    lamps = bench.knowledge.known.inventory.luminaires
    return [ProtectionWish(lamp.uid, "w0", power_on, loss, 1) for lamp in lamps if lamp.gateway_uid == "w0"]


def stored(bench: Bench) -> list[tuple[str, int, float]]:
    """What was written of levels to keep."""
    return [
        (point, index or 0, value)
        for point, index, value in bench.town.gateway(0).writes
        if point in ("level_power_on", "level_communication_loss")
    ]


async def test_only_what_differs_is_written_and_what_is_read_afterwards_counts():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11, step_s=1800)
    bench.town.lamp(0, 0).communication_loss = 1000
    bench.town.lamp(0, 1).power_on = 300
    bench.town.lamp(0, 2).forgets = True
    seen = await visit(bench.control, "w0", wishes_of(bench))
    uids = [wish.luminaire_uid for wish in wishes_of(bench)]
    assert [seen[uid].confirmed for uid in uids] == [True, True, False, *[True] * 9]
    assert (seen[uids[2]].read_power_on, seen[uids[2]].read_communication_loss) == (1000, -1)
    first = stored(bench)
    assert [entry for entry in first if entry[1] == 0] == []
    assert sorted(entry for entry in first if entry[1] == 1) == [
        ("level_communication_loss", 1, 1000.0),
        ("level_power_on", 1, 1000.0),
    ]
    bench.forget_writes()
    await visit(bench.control, "w0", wishes_of(bench))
    assert {entry[1] for entry in stored(bench)} == {2}
    assert bench.all_at(500)  # its light is not touched


async def test_gear_without_supply_locked_out_or_behind_a_switch_in_0_is_not_written_and_still_to_be_asked():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(1)
    by_day = await visit(bench.control, "w0", wishes_of(bench))
    assert {index for _, index, _ in stored(bench)} == {8, 9, 10, 11}  # on the permanent feeder
    assert len(by_day) == 4
    bench.lock_out("f0.0")
    await bench.at(11, step_s=1800)
    bench.forget_writes()
    by_night = await visit(bench.control, "w0", wishes_of(bench))
    assert {index for _, index, _ in stored(bench)} == {4, 5, 6, 7}
    assert len(by_night) == 8
    bench.town.controller(0).cabinet.switch = OFF
    await bench.passes(3)
    assert await visit(bench.control, "w0", wishes_of(bench)) == {}


@pytest.mark.parametrize(
    ("state", "written"),
    [(EndpointState.OBSERVED, False), (EndpointState.TESTED, True), (EndpointState.IN_CONTROL, True)],
)
async def test_an_endpoint_is_written_when_it_is_tested_or_in_control(state: EndpointState, written: bool):
    bench = Bench(cabinets=1)
    bench.endpoint_state("eg0", state)
    await bench.at(11, step_s=1800)
    seen = await visit(bench.control, "w0", wishes_of(bench))
    assert bool(stored(bench)) is bool(seen) is written


async def test_a_gateway_that_cannot_store_levels_leaves_its_lamps_unprotected():
    bench = Bench(cabinets=1, profile="arlight-dali")
    await bench.at(11, step_s=1800)
    seen = await visit(bench.control, "w0", wishes_of(bench))
    assert {(one.supported, one.confirmed) for one in seen.values()} == {(False, False)}
    assert stored(bench) == []


async def test_a_gateway_that_is_busy_is_not_disturbed():
    bench = Bench(cabinets=1, patience_real_s=0.5)
    await bench.at(11, step_s=1800)
    gateway = bench.town.gateway(0)
    gateway.hangs = asyncio.Event()
    await bench.passes(1)

    async def errand(_ground: Ground, _link: Link) -> None:
        raise AssertionError("it had no turn")

    assert not await bench.control.lend("w0", errand)
    assert not await bench.control.lend("nowhere", errand)
    gateway.hangs.set()


async def test_over_real_modbus_and_opc_ua_the_simulated_gear_keeps_the_levels():
    night = Night(luminaires=30)
    lamps = night.simulator.world.lamps
    lamps.power_on_level[:] = 400.0
    lamps.system_failure_level[:] = -1.0  # as before, which some gateways show as no level at all
    await night.start()
    try:
        await night.to(6)
        profile_of = {endpoint.uid: endpoint.profile for endpoint in night.inventory.endpoints}
        able = confirmed = 0
        for gateway in night.inventory.gateways:
            mine = [x.uid for x in night.inventory.luminaires if x.gateway_uid == gateway.uid]
            wishes = [ProtectionWish(uid, gateway.uid, 1000, 700, 1) for uid in mine]
            seen = await visit(night.control, gateway.uid, wishes)
            can = profile_of[gateway.endpoint_uid] != "arlight-dali"
            assert {one.confirmed for one in seen.values()} == {can}, profile_of[gateway.endpoint_uid]
            confirmed += sum(one.confirmed for one in seen.values())
            able += len(mine) if can else 0
        assert confirmed == able > 0
        assert (lamps.power_on_level >= 990).sum() == confirmed
        assert (abs(lamps.system_failure_level - 700) <= 15).sum() == confirmed
    finally:
        await night.control.close()
        await night.simulator.stop()


# --- as people ask for it -----------------------------------------------------------------------------------------


async def listed(light: Lighting, subject: str = "operator", *, only: bool = False) -> dict[str, Any]:
    """Protection by luminaire."""
    request = com.ListLuminaireProtectionsRequest(parent=T, page_size=3, unprotected_only=only)
    found: dict[str, Any] = {}
    while True:
        answer = await light.as_(subject).ListLuminaireProtections(request)
        found |= {one.luminaire.rsplit("/", 1)[-1]: one for one in answer.protections}
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_a_planner_protects_a_gateway_and_sees_which_lamps_are_not(lighting: Lighting):
    light = lighting
    await light.street()
    await light.import_lines(luminaire_ids=["L-9"], floors_permille=[400])
    await light.known()
    assert {one.state for one in (await listed(light)).values()} == {STATES.PROTECTION_STATE_NOT_ASKED}
    assert "L-9" not in await listed(light)  # burns with its feeder: nothing to store in it
    light.town.lamp(1, 3).forgets = True
    await light.to(1)
    request = com.ProtectLuminairesRequest(parent=T, gateways=[f"{T}/gateways/G-1"], reason="commissioning")
    answer = await light.planner.ProtectLuminaires(request)
    assert answer.luminaire_count == 4
    protector = Protector(light.parts.database, light.parts.control, light.clock)
    await protector.turn()
    assert {one.state for one in (await listed(light)).values()} == {STATES.PROTECTION_STATE_PENDING}  # dead by day
    await light.to(8)
    async with asyncio.timeout(60):
        while any(one.state == STATES.PROTECTION_STATE_PENDING for one in (await listed(light)).values()):
            await protector.turn()
    left = await listed(light, only=True)
    assert list(left) == ["L-1-3"]
    assert left["L-1-3"].state == STATES.PROTECTION_STATE_NOT_CONFIRMED
    assert left["L-1-3"].read_communication_loss_permille == -1
    good = (await listed(light))["L-1-0"]
    assert good.state == STATES.PROTECTION_STATE_PROTECTED
    assert (good.power_on_permille, good.read_communication_loss_permille, good.author) == (1000, 1000, "planner")
    assert good.read_at.seconds > good.asked_at.seconds
    assert (await light.trail(T))[0].reason == "commissioning"


async def test_who_may_and_for_what(light: Lighting):
    await light.street(1)
    await light.street(2)
    await light.known()
    gateway, other = f"{T}/gateways/G-1", f"{T}/gateways/G-2"
    answer = await light.as_(FITTER).ProtectLuminaires(com.ProtectLuminairesRequest(parent=T, gateways=[gateway]))
    assert answer.luminaire_count == 4
    assert set(await listed(light, FITTER)) == {f"L-1-{n}" for n in range(4)}
    for caller, request in (
        (FITTER, com.ProtectLuminairesRequest(parent=T, gateways=[other])),
        (FITTER, com.ProtectLuminairesRequest(parent=T, groups=[f"{T}/groups/default"])),
        ("viewer", com.ProtectLuminairesRequest(parent=T, gateways=[gateway])),
    ):
        with pytest.raises(NotPermitted):
            await light.as_(caller).ProtectLuminaires(request)
    group = com.ProtectLuminairesRequest(parent=T, groups=[f"{T}/groups/default"], luminaires=[f"{T}/luminaires/L-2-0"])
    assert (await light.planner.ProtectLuminaires(group)).luminaire_count == 8
    for bad, field in (
        (com.ProtectLuminairesRequest(parent=T), "gateways"),
        (com.ProtectLuminairesRequest(parent=T, gateways=[f"{T}/gateways/none"]), "gateways[0]"),
        (com.ProtectLuminairesRequest(parent=T, gateways=[gateway], power_on_permille=1001), "power_on_permille"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await light.planner.ProtectLuminaires(bad)
        assert field in str(caught.value)


async def test_the_same_request_id_asks_once_and_with_other_content_is_refused(lighting: Lighting):
    await lighting.street()
    values: dict[str, Any] = {"parent": T, "gateways": [f"{T}/gateways/G-1"], "request_id": "p-1"}
    first = await lighting.planner.ProtectLuminaires(com.ProtectLuminairesRequest(**values))
    asked = [record.asked_ms for record in await wishes(lighting)]
    await lighting.clock.advance(timedelta(seconds=5))
    again = await lighting.planner.ProtectLuminaires(com.ProtectLuminairesRequest(**values))
    assert (first.luminaire_count, again) == (4, first)
    assert [record.asked_ms for record in await wishes(lighting)] == asked
    with pytest.raises(InvalidInput, match="request_id"):
        await lighting.planner.ProtectLuminaires(com.ProtectLuminairesRequest(**values, power_on_permille=500))


async def wishes(light: Lighting) -> list[ProtectionRow]:
    """What was asked for, as it is stored."""
    return await light.parts.database.read(
        lambda session: list(session.exec(select(ProtectionRow).order_by(ProtectionRow.luminaire_uid)))
    )
