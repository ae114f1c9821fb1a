"""What control rests on survives as a file, exactly, and a change made by another replica is noticed."""

import asyncio
import json
import time
from dataclasses import replace
from math import isnan

import pytest

from domain.canonical import sha256_hex
from domain.errors import Corrupted
from domain.plan import Plan
from domain.priority import Priority
from servicekit.clock import SteppedClock
from servicekit.tenants import FixedTenants
from services.lighting.memory import Memory
from services.lighting.records import (
    EndpointRecord,
    EndpointState,
    Inventory,
    Known,
    LockoutRecord,
    Orders,
    OverrideRecord,
)
from services.lighting.snapshot import SnapshotFiles
from services.lighting.store.endpoints import replace_endpoints
from services.lighting.store.inventory import GROUPS, LUMINAIRES, add, ids_of
from services.lighting.store.luminaires import default_group
from services.lighting.store.orders import put_plan
from services.lighting.store.tables import LuminaireRow
from tests.services.lighting.bench import NOON
from tests.services.lighting.test_due import small_town
from tests.support.running import HERSFELD, TOWNS
from tests.support.waiting import eventually

UID = "a" * 32


def known() -> Known:
    endpoint = EndpointRecord("e0", "t1", "E-0", "modbus+tcp://10.0.0.1", "cabinet-plc", EndpointState.TESTED)
    town = small_town()
    gateways = tuple(replace(gateway, gear_groups=((0, (1, 2)), (17, (64,)))) for gateway in town.gateways)
    inventory = replace(town, endpoints=(endpoint,), gateways=gateways)
    assert gateways
    override = OverrideRecord("o1", "t1", Priority.MAINTENANCE, 700, 1, 2, 3, ("c0", "l1"))
    plans = {"g0": Plan(0, 10, (0, 5), (0, 1000), (0, 60))}
    return Known(inventory, Orders(4, plans, (override,), (LockoutRecord("k1", "t1", "f0"),)))


def same(one: object, other: object) -> bool:
    # NaN is not equal to itself; everything else has to be.
    return repr(one) == repr(other)


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    files = SnapshotFiles(tmp_path)
    files.save_inventory(known().inventory)
    files.save_orders(known().orders)
    loaded = files.load()
    assert same(loaded, known())
    assert isnan(loaded.inventory.luminaires[0].latitude_deg)
    assert (tmp_path / "inventory.json").stat().st_mode & 0o077 == 0


def test_no_snapshot_is_an_empty_town_and_a_torn_one_is_refused(tmp_path):
    files = SnapshotFiles(tmp_path / "none")
    assert files.load() == Known()
    files.save_orders(known().orders)
    path = tmp_path / "none" / "orders.json"
    whole = path.read_text()
    for broken in (whole[:-5], whole.replace("1000", "1001"), "", json.dumps({"schema": "x"})):
        path.write_text(broken)
        with pytest.raises(Corrupted):
            files.load()


def test_an_inventory_without_its_orders_is_refused_since_nobody_can_tell_what_is_locked_out(tmp_path):
    files = SnapshotFiles(tmp_path)
    files.save_inventory(known().inventory)
    with pytest.raises(Corrupted, match=r"orders\.json"):
        files.load()


async def test_orders_are_in_the_files_before_the_inventory_and_are_so_even_when_there_are_none(database, tmp_path):
    class Watched(SnapshotFiles):
        def save_inventory(self, inventory):
            assert (tmp_path / "orders.json").exists()
            super().save_inventory(inventory)

    memory = Memory(database, FixedTenants(TOWNS), SteppedClock(NOON), Watched(tmp_path))
    await memory.start()
    assert SnapshotFiles(tmp_path).load().inventory.towns


async def test_of_two_states_that_are_written_at_once_the_newer_one_stays_in_the_files(database, tmp_path):
    class Slow(SnapshotFiles):
        first = True

        def save_orders(self, orders):
            if self.first:
                self.first = False
                time.sleep(0.3)
            super().save_orders(orders)

    memory = Memory(database, FixedTenants(TOWNS), SteppedClock(NOON), Slow(tmp_path))
    starting = asyncio.create_task(memory.start())
    await eventually(lambda: bool(memory.known.inventory.towns))
    memory._take(replace(memory.known, orders=known().orders))
    await asyncio.gather(starting, memory._save())
    assert SnapshotFiles(tmp_path).load().orders.lockouts == known().orders.lockouts


async def test_what_another_replica_stored_is_noticed_by_its_revision(database, tmp_path):
    clock = SteppedClock(NOON)
    memory = Memory(database, FixedTenants(TOWNS), clock, SnapshotFiles(tmp_path))
    heard = []
    memory.on_change(lambda: heard.append(memory.known))
    await memory.start()
    assert not memory.known.inventory.luminaires

    def store(session):
        group = default_group(session, HERSFELD, 1)
        add(session, LUMINAIRES, HERSFELD, LuminaireRow(
            uid=UID, municipality_uid=HERSFELD.uid, id="L-1", created_at_ms=1, group_uid=group.uid
        ))  # fmt: skip

    await database.run(store)
    await memory.refresh()
    assert [lamp.id for lamp in memory.known.inventory.luminaires] == ["L-1"]
    before = len(heard)
    await memory.refresh()
    assert len(heard) == before  # nothing changed, so nobody is told

    def plan(session):
        group = ids_of(session, GROUPS, HERSFELD.uid)["default"]
        row = session.get(GROUPS.table, group)
        put_plan(session, row, Plan(0, 10, (0,), (0,)), "", 1)

    await database.run(plan)
    inventory = memory.known.inventory
    await memory.refresh()
    assert len(memory.known.orders.plans) == 1
    assert memory.known.inventory is inventory  # only what changed is loaded
    assert same(SnapshotFiles(tmp_path).load().orders.plans, memory.known.orders.plans)


async def test_endpoints_are_made_equal_to_the_registrys_list_and_no_more_is_written(database):
    first = EndpointRecord("1" * 32, HERSFELD.uid, "E-1", "modbus+tcp://a", "cabinet-plc", EndpointState.OBSERVED)
    second = EndpointRecord("2" * 32, HERSFELD.uid, "E-2", "modbus+tcp://b", "cabinet-plc", EndpointState.PLANNED)

    async def told(*endpoints) -> int:
        changed: int = await database.run(lambda session: replace_endpoints(session, endpoints, 5))
        return changed

    async def stored() -> tuple[EndpointRecord, ...]:
        memory = Memory(database, FixedTenants(TOWNS), SteppedClock(NOON), None)
        await memory.start()
        return memory.known.inventory.endpoints

    assert await told(first, second) == 2
    assert await told(first, second) == 0
    released = replace(first, state=EndpointState.IN_CONTROL, round_trip_ms=1800, monthly_bytes=50_000_000)
    assert await told(released, second) == 1
    assert await stored() == (released, second)
    assert await told(released) == 1
    assert await stored() == (released,)
    assert await told(released, second) == 1
    assert await stored() == (released, second)


def test_a_snapshot_of_an_older_version_is_read_with_what_it_did_not_know_yet(tmp_path):
    endpoint = EndpointRecord("e0", "t1", "E-0", "modbus+tcp://10.0.0.1", "cabinet-plc", EndpointState.TESTED)
    files = SnapshotFiles(tmp_path)
    files.save_inventory(Inventory(endpoints=(endpoint,)))
    files.save_orders(Orders())
    path = tmp_path / "inventory.json"
    head, _, text = path.read_text().partition("\n")
    body = json.loads(text)
    body["endpoints"] = [row[:6] for row in body["endpoints"]]
    older = json.dumps(body)
    path.write_text(json.dumps(json.loads(head) | {"sha256": sha256_hex(older.encode())}) + "\n" + older)
    assert files.load().inventory.endpoints == (endpoint,)
