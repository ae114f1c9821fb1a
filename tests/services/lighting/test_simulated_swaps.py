"""Drivers are swapped in the simulated town, over real Modbus: detected, given their settings back, counted anew; and
what only looks like a swap is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import Session, select

from servicekit.access import Caller
from servicekit.audit import AuditRecord
from servicekit.context import acting_as
from servicekit.database import Database
from services.lighting.commissioning import Protector
from services.lighting.gear_keeper import GearKeeper
from services.lighting.records import EndpointState, LuminaireRecord
from services.lighting.store.commissioning_tables import ProtectionRow
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.gears import LifeState, burnt_s, current, decide, lives_of, record_swap
from services.lighting.store.tables import CabinetRow, GatewayRow, GroupRow, LuminaireRow
from services.lighting.swapped import HOUR_S, Sign
from tests.services.lighting.test_simulated_town import Night
from tests.simulator.test_swapped_gear import swapping_town

INTESIS, GENERIC = 0, 1


class Swaps:
    """The town by night, with a database and what keeps the lives of drivers."""

    def __init__(self, database: Database) -> None:
        self.night = Night(town=swapping_town())
        self.database = database
        self.world = self.night.simulator.world

    async def start(self) -> None:
        """Lit for an hour, and every driver known."""
        await self.night.start()
        await self.database.run(self._stock)
        self.keeper = GearKeeper(
            self.database, self.night.control, self.night.clock, self.night.gears, self.night.book,
            inventory=lambda: self.night.inventory, least_real_s=0.0,
        )  # fmt: skip
        self.protector = Protector(self.database, self.night.control, self.night.clock)
        await self.night.to(6)
        await self.rounds(1)

    def _stock(self, session: Session) -> None:
        inventory = self.night.inventory
        given: dict[str, Any] = {"municipality_uid": "t1", "created_at_ms": 0}
        session.add(GroupRow(uid="g0", id="default", **given))
        session.add_all(CabinetRow(uid=c.uid, id=c.id, **given) for c in inventory.cabinets)
        session.flush()
        for gateway in inventory.gateways:
            endpoint = gateway.endpoint_uid
            session.add(
                GatewayRow(
                    uid=gateway.uid, id=gateway.id, cabinet_uid=gateway.cabinet_uid, endpoint_uid=endpoint, **given
                )
            )
        session.flush()
        for lamp in inventory.luminaires:
            session.add(
                LuminaireRow(
                    uid=lamp.uid,
                    id=lamp.id,
                    group_uid="g0",
                    gateway_uid=lamp.gateway_uid,
                    gateway_address=lamp.gateway_address,
                    **given,
                )
            )
        session.flush()

    async def rounds(self, count: int, seconds: float = 3700.0) -> None:
        """Goes on, with a look at the drivers each time, and the settings that are asked for."""
        for _ in range(count):
            await self.night.step(seconds)
            await self.night.step(10.0)
            with acting_as(Caller.of_service("lighting")):
                await self.keeper.turn()
                await self.protector.turn()
            await self.night.step(10.0)

    async def settled(self, seconds: float = 700.0) -> None:
        """Some minutes with looks at the lines."""
        await self.rounds(4, seconds)

    def lamps(self, cabinet: int) -> list[LuminaireRecord]:
        """Luminaires of a cabinet's gateway by address."""
        gateway = self.night.simulator.town.cabinets[cabinet].gateway
        mine = [lamp for lamp in self.night.inventory.luminaires if lamp.gateway_uid == gateway]
        return sorted(mine, key=lambda lamp: lamp.gateway_address)

    async def breaks(self, **fault: Any) -> None:
        """Something happens in the town."""
        self.night.simulator.catch_up()
        await self.night.simulator.faults.inject(fault)

    async def protect(self, lamps: list[LuminaireRecord], power_on: int, loss: int) -> None:
        """They are protected, and have been read back."""

        def ask(session: Session) -> None:
            for lamp in lamps:
                session.add(
                    ProtectionRow(
                        luminaire_uid=lamp.uid, municipality_uid="t1", power_on_permille=power_on,
                        communication_loss_permille=loss, asked_ms=1, author="planner",
                    )
                )  # fmt: skip

        await self.database.run(ask)
        await self.rounds(1)
        for lamp in lamps:
            assert (await self.protection(lamp)).confirmed

    async def protection(self, lamp: LuminaireRecord) -> ProtectionRow:
        """What is known of its settings."""
        row: ProtectionRow = await self.database.read(
            lambda session: session.exec(select(ProtectionRow).where(ProtectionRow.luminaire_uid == lamp.uid)).one()
        )
        return row

    async def lives(self, lamp: LuminaireRecord) -> list[GearLifeRow]:
        """Its drivers."""
        return (await self.database.read(lambda session: lives_of(session, [lamp.uid]))).get(lamp.uid, [])

    async def total_s(self, lamp: LuminaireRecord) -> int:
        """How long it has burnt."""
        return sum(burnt_s(row) or 0 for row in await self.lives(lamp) if row.state != LifeState.REJECTED)

    async def everyone_has_one(self) -> bool:
        """Whether no driver of the town counts as swapped."""
        every = await self.database.read(lambda session: session.exec(select(GearLifeRow)).all())
        return all(row.number == 1 for row in every)

    def truth_s(self, lamp: LuminaireRecord) -> float:
        """How long it has really burnt."""
        self.night.simulator.catch_up()
        return float(self.world.lamps.burning_s(self.world.now)[self.world.lamp_index[lamp.id]])

    def written(self, lamp: LuminaireRecord) -> list[str]:
        """Kinds of settings that were written to a luminaire."""
        row = self.world.lamp_index[lamp.id]
        kinds = ("power_on_level", "communication_loss_level")
        feeder = self.night.simulator.town.luminaires[row].feeder
        return [w.kind for w in self.night.simulator.field.writes.select(feeder=feeder) if w.kind in kinds]


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
    assert plain.night.faults() == []
    assert await plain.total_s(lamp) == pytest.approx(plain.truth_s(lamp), abs=2 * HOUR_S)


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


async def test_gateways_that_start_anew_power_cuts_and_silence_are_no_swaps(plain: Swaps):
    town = plain.night.simulator.town
    lamps = plain.world.lamps
    # A gateway that was restarted tells zeros of all its drivers for a while.
    mine = [plain.world.lamp_index[lamp.id] for lamp in plain.lamps(INTESIS)]
    base = lamps._gear_burning_base.copy()
    lamps._gear_burning_base[mine] = lamps.burning_s(plain.world.now)[mine]
    plain.world._touch(plain.world.gateways[town.cabinets[INTESIS].gateway].lamps)
    await plain.rounds(3)
    lamps._gear_burning_base[:] = base
    plain.world._touch(plain.world.gateways[town.cabinets[INTESIS].gateway].lamps)
    await plain.rounds(1)
    assert await plain.everyone_has_one()
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


async def test_nothing_is_written_by_itself_where_a_gateway_is_not_in_control(plain: Swaps):
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
