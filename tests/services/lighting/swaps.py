"""The simulated town by night, with a database, drivers that are swapped, and what keeps their lives."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, select

from servicekit.access import Caller
from servicekit.context import acting_as
from servicekit.database import Database
from services.lighting.commissioning import Protector
from services.lighting.gear_keeper import GearKeeper
from services.lighting.records import LuminaireRecord
from services.lighting.store.commissioning_tables import ProtectionRow
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.gears import LifeState, burnt_s, lives_of
from services.lighting.store.tables import CabinetRow, GatewayRow, GroupRow, LuminaireRow
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
