"""More of swapped drivers over real Modbus: what people say of them, and what only looks like a swap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlmodel import Session

from servicekit.database import Database
from services.lighting.app import MIGRATIONS
from services.lighting.store.gears import LifeState, decide, record_swap
from services.lighting.store.tables import LuminaireRow
from services.lighting.swapped import HOUR_S
from tests.services.lighting.swaps import GENERIC, INTESIS, Swaps

pytestmark = pytest.mark.long


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Swaps]:
    """A town at work on SQLite."""
    database = Database(f"sqlite:///{tmp_path}/lighting.db", "lighting", pool_size=2)
    await database.migrate(MIGRATIONS)
    made = Swaps(database)
    await made.start()
    yield made
    await made.night.stop()
    await database.close()


async def test_a_swap_that_was_none_counts_for_the_driver_before(plain: Swaps):
    lamp = plain.lamps(INTESIS)[1]
    await plain.breaks(kind="gear_swap", luminaire=lamp.id)
    await plain.rounds(3)
    before_s = await plain.total_s(lamp)

    def reject(session: Session) -> None:
        stored = session.get(LuminaireRow, lamp.uid)
        assert stored is not None
        decide(session, stored, really=False, serial="", reason="only its counter", author="fitter", now_ms=1)

    await plain.database.run(reject)
    lives = await plain.lives(lamp)
    assert [life.state for life in lives] == [LifeState.FIRST, LifeState.REJECTED]
    assert await plain.total_s(lamp) == before_s
    await plain.rounds(2)
    assert plain.night.faults() == []
    assert [life.state for life in await plain.lives(lamp)] == [LifeState.FIRST, LifeState.REJECTED]
    assert await plain.total_s(lamp) >= before_s + 2 * HOUR_S - 700


async def test_a_swap_that_a_person_recorded_begins_with_what_is_read_then(plain: Swaps):
    lamp = plain.lamps(INTESIS)[1]
    await plain.protect([lamp], 1000, 300)
    now_ms = round(plain.night.clock.now().timestamp() * 1000)

    def record(session: Session) -> None:
        stored = session.get(LuminaireRow, lamp.uid)
        assert stored is not None
        record_swap(
            session, stored, installed_ms=now_ms, serial="4711", first_s=0, reason="storm", author="fitter",
            now_ms=now_ms,
        )  # fmt: skip

    before_s = await plain.total_s(lamp)
    await plain.database.run(record)
    await plain.rounds(1)
    assert await plain.total_s(lamp) == before_s, "the old driver is still in"
    await plain.breaks(kind="gear_swap", luminaire=lamp.id)
    await plain.rounds(3)
    lives = await plain.lives(lamp)
    assert [(life.state, life.serial) for life in lives] == [(LifeState.FIRST, ""), (LifeState.RECORDED, "4711")]
    row = plain.world.lamp_index[lamp.id]
    assert plain.world.lamps.system_failure_level[row] == pytest.approx(300.0, abs=10), "its settings are back"
    assert plain.night.faults() == []
    assert await plain.total_s(lamp) == pytest.approx(plain.truth_s(lamp), abs=2 * HOUR_S)


async def test_power_cuts_and_silence_are_no_swaps(plain: Swaps):
    town = plain.night.simulator.town
    for fault in (
        {"kind": "supply_loss", "cabinet": town.cabinets[GENERIC].id},
        {"kind": "dead_gateway", "endpoint": town.cabinets[INTESIS].gateway},
    ):
        await plain.breaks(**fault)
        await plain.rounds(1)
        plain.night.simulator.catch_up()
        await plain.night.simulator.faults.clear()
        await plain.rounds(1)
    assert await plain.everyone_has_one()
    assert not any(kind.startswith(("gear_swapped", "gear_un", "address")) for kind, _ in plain.night.faults())
