"""Drivers are swapped in the simulated town, over real Modbus: detected, given their settings back, counted anew; and
what only looks like a swap is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlmodel import Session, select

from servicekit.audit import AuditRecord
from servicekit.database import Database
from services.lighting.records import EndpointState
from services.lighting.store.gears import LifeState, current, decide
from services.lighting.store.tables import LuminaireRow
from services.lighting.swapped import HOUR_S, Sign
from tests.services.lighting.swaps import GENERIC, INTESIS, Swaps


@pytest.fixture
async def swaps(database: Database) -> AsyncIterator[Swaps]:
    made = Swaps(database)
    await made.start()
    yield made
    await made.night.stop()


@pytest.fixture
async def plain(one_database_url: str) -> AsyncIterator[Swaps]:
    """On SQLite only: for what does not depend on the database."""
    database = Database(one_database_url, "lighting", pool_size=2)
    made = Swaps(database)
    await made.start()
    yield made
    await made.night.stop()
    await database.close()


async def test_a_swapped_driver_gets_its_settings_back_and_starts_new_burning_hours(swaps: Swaps):
    lamp, neighbour = swaps.lamps(INTESIS)[1:3]
    row = swaps.world.lamp_index[lamp.id]
    await swaps.protect([lamp, neighbour], 1000, 300)
    before_s = await swaps.total_s(lamp)
    assert before_s == pytest.approx(swaps.truth_s(lamp), abs=4000)
    written = len(swaps.written(lamp))
    await swaps.breaks(kind="gear_swap", luminaire=lamp.id)
    assert swaps.world.lamps.system_failure_level[row] == 1000.0
    await swaps.rounds(1)
    assert len(await swaps.lives(lamp)) == 1, "nothing follows from one reading"
    assert swaps.world.lamps.system_failure_level[row] == 1000.0
    await swaps.rounds(2, 700.0)

    lives = await swaps.lives(lamp)
    assert [life.state for life in lives] == [LifeState.FIRST, LifeState.DETECTED]
    assert lives[1].signs == Sign.HOURS_FELL | Sign.SETTINGS_LOST
    assert "burning hours" in lives[1].evidence
    assert "100 % and 30 %" in lives[1].evidence
    assert swaps.world.lamps.system_failure_level[row] == pytest.approx(300.0, abs=10)
    assert (await swaps.protection(lamp)).confirmed
    assert (await swaps.protection(lamp)).author == "planner"
    assert swaps.written(lamp)[written:] == ["communication_loss_level"], "only what differs wears the gear"
    assert swaps.night.faults() == [("gear_swapped", lamp.id)]

    await swaps.rounds(2)
    assert await swaps.total_s(lamp) == pytest.approx(swaps.truth_s(lamp), abs=2 * HOUR_S)
    assert await swaps.total_s(lamp) > before_s
    inside = current(await swaps.lives(lamp))
    assert inside is not None
    assert (inside.last_s or 0) < 12 * HOUR_S, "the driver has hours of its own"
    assert len(await swaps.lives(neighbour)) == 1
    trail = await swaps.database.read(lambda session: session.exec(select(AuditRecord)).all())
    assert [(r.action, r.actor) for r in trail] == [("lighting.luminaires.detectSwap", "service:lighting")]

    def confirm(session: Session) -> None:
        stored = session.get(LuminaireRow, lamp.uid)
        assert stored is not None
        decide(session, stored, really=True, serial="4711", reason="order 12", author="fitter", now_ms=1)

    await swaps.database.run(confirm)
    await swaps.rounds(1)
    assert swaps.night.faults() == []


async def test_another_identity_tells_a_used_driver_with_about_the_same_hours(plain: Swaps):
    lamp = plain.lamps(GENERIC)[1]
    await plain.breaks(kind="gear_swap", luminaire=lamp.id, serial="DRV-4711", burning_s=round(plain.truth_s(lamp)))
    await plain.rounds(3)
    lives = await plain.lives(lamp)
    assert [(life.state, life.signs) for life in lives] == [
        (LifeState.FIRST, 0),
        (LifeState.DETECTED, Sign.IDENTITY_CHANGED),
    ]
    assert lives[1].identity == "DRV-4711"
    assert await plain.total_s(lamp) == pytest.approx(plain.truth_s(lamp), abs=2 * HOUR_S)


async def test_a_driver_without_an_address_is_told_on_the_luminaire_that_is_silent(plain: Swaps):
    lamp, other = plain.lamps(GENERIC)[1:3]
    await plain.breaks(kind="gear_unaddressed", luminaire=lamp.id)
    await plain.settled()
    assert plain.night.faults() == [("gear_unaddressed", lamp.id)]
    # Two are silent, and one of them has no address: which, nobody can tell.
    await plain.breaks(kind="gear_failure", luminaire=other.id)
    await plain.settled()
    gateway = lamp.gateway_uid
    assert plain.night.faults() == sorted([
        ("gear_unaddressed", gateway),
        ("gear_failure", lamp.id),
        ("gear_failure", other.id),
    ])  # fmt: skip
    plain.night.simulator.catch_up()
    await plain.night.simulator.faults.clear()  # the fitter gives it its address
    await plain.settled()
    await plain.rounds(2)
    assert plain.night.faults() == [("gear_swapped", lamp.id)]
    assert len(await plain.lives(other)) == 1, "a driver that failed and works again is the same one"


async def test_an_address_that_two_drivers_have_is_told_and_its_readings_are_not_believed(plain: Swaps):
    lamp, other = plain.lamps(GENERIC)[1:3]
    await plain.breaks(kind="gear_duplicate", luminaire=lamp.id, of=other.id)
    await plain.settled()
    await plain.rounds(2)
    assert plain.night.faults() == sorted([("address_duplicate", other.id), ("gear_failure", lamp.id)])
    assert len(await plain.lives(other)) == 1
    plain.night.simulator.catch_up()
    await plain.night.simulator.faults.clear()
    await plain.settled()
    assert ("address_duplicate", other.id) not in plain.night.faults()


async def test_a_gateway_that_starts_anew_and_tells_zeros_is_no_swap(plain: Swaps):
    town = plain.night.simulator.town
    lamps = plain.world.lamps
    # A gateway that was restarted tells zeros of all its drivers for a while.
    base = lamps._gear_burning_base.copy()
    mine = [plain.world.lamp_index[lamp.id] for lamp in plain.lamps(INTESIS)]
    lamps._gear_burning_base[mine] = lamps.burning_s(plain.world.now)[mine]
    plain.world._touch(plain.world.gateways[town.cabinets[INTESIS].gateway].lamps)
    await plain.rounds(2)
    lamps._gear_burning_base[:] = base
    plain.world._touch(plain.world.gateways[town.cabinets[INTESIS].gateway].lamps)
    await plain.rounds(1)
    assert await plain.everyone_has_one()
    assert plain.night.faults() == []


async def test_where_a_gateway_is_not_in_control_settings_wait_for_a_person(plain: Swaps):
    lamp = plain.lamps(INTESIS)[1]
    row = plain.world.lamp_index[lamp.id]
    await plain.protect([lamp], 1000, 300)
    known = plain.night.knowledge.known
    observed = tuple(replace(e, state=EndpointState.TESTED) for e in known.inventory.endpoints)
    plain.night.inventory = replace(known.inventory, revision=known.inventory.revision + 1, endpoints=observed)
    plain.night.knowledge.set(replace(known, inventory=plain.night.inventory))
    await plain.breaks(kind="gear_swap", luminaire=lamp.id)
    await plain.rounds(4, 700.0)
    await plain.rounds(3)
    assert len(await plain.lives(lamp)) == 2
    assert plain.world.lamps.system_failure_level[row] == 1000.0
    assert not (await plain.protection(lamp)).confirmed, "it is listed as not protected"

    def confirm(session: Session) -> None:
        stored = session.get(LuminaireRow, lamp.uid)
        assert stored is not None
        now_ms = round(plain.night.clock.now().timestamp() * 1000)
        decide(session, stored, really=True, serial="", reason="I was there", author="fitter", now_ms=now_ms)

    await plain.database.run(confirm)
    await plain.rounds(1)
    assert (await plain.protection(lamp)).confirmed, "who confirms it asks for its settings"
    assert plain.world.lamps.system_failure_level[row] == pytest.approx(300.0, abs=10)
