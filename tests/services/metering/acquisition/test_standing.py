"""Where registers stand when a worker starts: looked up all at once, whatever lies behind them."""

from __future__ import annotations

from sqlmodel import Session

from domain.names import new_uid
from servicekit.database import Database
from services.metering.life import Exchange, Origin
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store.exchanges import exchange
from services.metering.store.ingest import write
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.tables import EndpointRow
from services.metering.store.targets import load
from services.metering.validation.parameters import DEFAULTS
from services.metering.vee import Point, RegisterState
from tests.services.metering.making import NOON_MS, NOW, TOWN, add_meter, series, source

DAYS = 96
"""Slots of a day."""


def stand(session: Session) -> None:
    """Meters with all kinds of pasts."""
    uid = new_uid()
    session.add(
        EndpointRow(
            uid=uid, municipality_uid=TOWN, endpoint_id="e", url="test://", profile="p", state=2, etag="", seen_at=NOW
        )
    )
    made = {
        name: add_meter(session, name, endpoint_uid=uid, endpoint_id="e", connected_load_w=10_000)
        for name in ("fresh", "doubted", "days", "weeks", "new", "exchanged", "lonely", "spiked")
    }
    key = {name: meter.lives[0].key for name, meter in made.items()}

    def store(name: str, slot: int, values: list[int], status: Status = Status.MEASURED) -> None:
        readings = series(key[name], NOON_MS + slot * SLOT_MS, values)
        readings.status[:] = status
        write(session, readings, source(), polled=True)

    store("fresh", 0, [100, 200, 300])
    store("lonely", -40, [500])
    store("lonely", 1, [900])
    store("spiked", 0, [100, 99_000, 300])
    store("doubted", -1, [5_000])
    store("doubted", 0, [10, 20], Status.DOUBTFUL)
    gaps = Readings.of([key["doubted"]], [NOON_MS + 2 * SLOT_MS], [0], [Status.GAP])
    write(session, gaps, source(), polled=True)
    store("days", -DAYS, [700])
    store("days", 2, [0], Status.GAP)
    store("weeks", -20 * DAYS, [800])
    store("weeks", 1, [3], Status.DOUBTFUL)
    row, lives = made["exchanged"].row, made["exchanged"].lives
    exchange(session, row, lives, Exchange(NOON_MS, 900, 50, Origin.EXCHANGE, "next"), source("exchange"), DEFAULTS)


async def test_each_register_is_taken_up_where_it_stands(database: Database) -> None:
    await Partitions(database).ensure(months_between(NOON_MS - 60 * DAYS * SLOT_MS, NOON_MS))
    await database.run(stand)
    targets, others = await database.read(lambda session: load(session, {}, DEFAULTS))
    found = {target.name.split("/")[1]: (target.state, target.settled_ms) for target in targets}
    assert others == 0

    def point(slot: int, value: int) -> Point:
        return Point(NOON_MS + slot * SLOT_MS, value)

    newest = NOON_MS + 2 * SLOT_MS
    assert found == {
        "fresh": (RegisterState(point(2, 300), before=point(1, 200)), newest),
        # The one before lies further back than the quick look goes.
        "lonely": (RegisterState(point(1, 900), before=point(-40, 500)), newest - SLOT_MS),
        # What was a spike is not what the next reading is compared with.
        "spiked": (RegisterState(point(2, 300), before=point(0, 100)), newest),
        # Confirmed, and not recorded by anybody: the next reading confirms it once more.
        "doubted": (RegisterState(point(-1, 5_000), point(0, 10), point(0, 10)), newest),
        "days": (RegisterState(point(-DAYS, 700)), newest),
        "weeks": (RegisterState(point(-20 * DAYS, 800), point(1, 3), point(1, 3)), NOON_MS + SLOT_MS),
        "new": (RegisterState(), 0),
        "exchanged": (RegisterState(point(0, 50)), 0),
    }
