"""Burning hours: what drivers report before what was counted, over swaps of them, from the day of installation on."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.plan import to_unix_ms
from servicekit.clock import SteppedClock
from services.lighting.ageing import AgeingClerk
from services.lighting.burning import Burning
from services.lighting.history import Change
from services.lighting.records import Inventory, LuminaireRecord
from services.lighting.store.burning import burning_of_all
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.gears import LifeState, lives_of
from services.lighting.store.history import add_changes, set_watched_until
from services.lighting.store.revisions import INVENTORY, revisions
from services.lighting.store.tables import GroupRow, LuminaireModelRow, LuminaireRow
from tests.services.lighting.bench import HOUR, NOON, TOWN

DAY = timedelta(days=1)
HOUR_S = 3600
CLO = [[0, 800], [20, 900], [30, 1000]]


def test_counted_hours_come_on_top_of_those_before_and_reported_ones_stand_by_themselves():
    burning = Burning().counted(10 * HOUR_S + 1800, 1)
    assert burning.hours(100) == 110
    assert burning.reported(7 * HOUR_S).hours(100) == 7


def test_another_date_of_installation_is_another_light_source_beside_drivers_that_stay():
    old = Burning().of("2020-05-01", 5).counted(HOUR_S, 9).reported(3000 * HOUR_S)
    assert old.of("2020-05-01", 5) is old
    new = old.of("2026-05-01", 7)
    assert (new.counted_s, new.counted_until_ms, new.hours(12)) == (0, 7, 12)
    assert new.reported(3010 * HOUR_S).hours(12) == 22


@given(st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_hours_never_fall_while_a_counter_rises(initial: int, one: int, other: int):
    less, more = sorted((one, other))
    for burning in (Burning(), Burning().of("2020-05-01", 5).reported(10**6).of("2026-05-01", 6)):
        assert burning.reported(less).hours(initial) <= burning.reported(more).hours(initial)
        assert burning.counted(less, 7).hours(initial) <= burning.counted(more, 7).hours(initial)


class Town:
    """A clerk over a database with two luminaires that age, and their history."""

    def __init__(self, database, **lamps: str) -> None:
        self.database, self.clock = database, SteppedClock(NOON)
        records = tuple(LuminaireRecord(uid * 32, "t1", uid, "g" * 32, ages=True) for uid in lamps)
        self.inventory = Inventory(1, (TOWN,), luminaires=records)
        self.lamps = lamps
        self.clerk = AgeingClerk(database, self.clock, holds=lambda: True, inventory=lambda: self.inventory)

    async def stock(self) -> None:
        """Puts the luminaires into the inventory."""

        def put(session) -> None:
            named: dict[str, Any] = {"municipality_uid": "t1", "version": 1, "created_at_ms": 0}
            session.add(LuminaireModelRow(uid="d" * 32, id="M", rated_power_w=20.0, clo=CLO, clo_by=2, **named))
            session.add(GroupRow(uid="e" * 32, id="default", **named))
            session.flush()
            for uid, installed_on in self.lamps.items():
                session.add(
                    LuminaireRow(
                        uid=uid * 32, id=uid, model_uid="d" * 32, group_uid="e" * 32, installed_on=installed_on, **named
                    )
                )

        await self.database.run(put)

    async def lit(self, uid: str, start_h: float, end_h: float) -> None:
        """A luminaire was lit from and until hours after noon."""
        changes = [
            Change(uid * 32, to_unix_ms(NOON + start_h * HOUR), 800, True),
            Change(uid * 32, to_unix_ms(NOON + end_h * HOUR), 0, True),
        ]
        await self.database.run(lambda session: add_changes(session, changes, {}))

    async def says(self, uid: str, number: int, first_h: int, last_h: int, state: LifeState = LifeState.FIRST) -> None:
        """A driver's counter of hours, when it was read first and last."""

        def put(session) -> None:
            for row in lives_of(session, [uid * 32]).get(uid * 32, []):
                if row.number == number:
                    session.delete(row)
            session.flush()
            session.add(
                GearLifeRow(
                    uid=f"{number:032}", municipality_uid="t1", luminaire_uid=uid * 32, number=number,
                    state=int(state), first_s=first_h * HOUR_S, last_s=last_h * HOUR_S,
                )
            )  # fmt: skip

        await self.database.run(put)

    async def watched(self, hours: float) -> None:
        """Levels were watched until hours after noon; it is that late, and the clerk has had its turn."""
        until = NOON + hours * HOUR
        await self.database.run(lambda session: set_watched_until(session, to_unix_ms(until)))
        await self.clock.advance(until - self.clock.now())
        await self.clerk.turn()

    async def known(self) -> tuple[dict[str, Burning], int]:
        """What is stored, and how often the inventory has changed."""
        found = await self.database.read(lambda s: (burning_of_all(s), revisions(s).get(INVENTORY, 0)))
        return {uid[0]: burning for uid, burning in found[0].items()}, found[1]


async def test_hours_are_counted_once_for_each_night_and_the_inventory_changes_where_a_point_is_reached(database):
    town = Town(database, a="", b="2026-11-11")
    await town.stock()
    for uid in "ab":
        for night in range(-1, 3):
            await town.lit(uid, night * 24 + 4, night * 24 + 14)
    await town.watched(1)
    burning, changes = await town.known()
    assert burning["a"].hours(0) == 10, "what was seen before counts, too"
    assert burning["b"].hours(0) == 0
    await town.watched(23)
    assert (await town.known())[0]["a"].hours(0) == 10, "the night is not over"
    await town.watched(24.5)
    await town.watched(25)
    burning, now = await town.known()
    assert burning["a"].hours(0) == 20
    assert burning["b"].hours(0) == 2, "installed in the middle of that night, which ended at two"
    assert now == changes + 1
    await town.watched(73)
    burning, now = await town.known()
    assert burning["a"].hours(0) == 40
    assert now == changes + 2


async def test_hours_that_drivers_report_are_taken_with_the_next_count_over_all_of_them(database):
    town = Town(database, a="")
    await town.stock()
    await town.lit("a", 4, 14)
    await town.says("a", 1, 20, 25)
    await town.watched(1)
    assert (await town.known())[0]["a"].hours(0) == 25
    await town.says("a", 1, 20, 31)
    await town.says("a", 2, 0, 9_000, LifeState.REJECTED)
    await town.watched(2)
    assert (await town.known())[0]["a"].hours(0) == 25, "once a night"
    await town.watched(24.5)
    assert (await town.known())[0]["a"].hours(0) == 31
    await town.says("a", 3, 5_000, 5_002, LifeState.CONFIRMED)
    await town.watched(48.5)
    assert (await town.known())[0]["a"].hours(0) == 33, "a used driver makes a light source no older"
