"""What the registry stores, on SQLite and PostgreSQL alike."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import inspect
from sqlmodel import Session, select

from domain.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from domain.names import ResourceName, new_uid
from servicekit.access import Role
from servicekit.database import Database
from services.registry.endpoint import Endpoint, Owner, State
from services.registry.field_url import parse_field_url
from services.registry.municipality import Municipality, Position, Union
from services.registry.roles import RoleBinding
from services.registry.store import bindings, endpoints, municipalities
from services.registry.store.endpoints import Placed
from services.registry.store.municipalities import EVERYTHING, Visible
from services.registry.store.tables import FieldBusRow, RegistryTable

NOW = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)


def town(identifier: str) -> Municipality:
    return Municipality(new_uid(), identifier, identifier.title(), "Europe/Berlin", Position(51.0, 9.3), NOW)


def lamp_gateway(municipality: Municipality, identifier: str, url: str, owner: Owner = Owner.LIGHTING) -> Placed:
    endpoint = Endpoint(
        new_uid(), municipality.uid, identifier, "Am Markt", parse_field_url(url), "arlight-dali", owner
    )
    return Placed(municipality.id, endpoint)


def name_of(placed: Placed) -> ResourceName:
    return ResourceName.parse(placed.name)


async def stored(database: Database, *towns: Municipality) -> tuple[Municipality, ...]:
    def work(session: Session) -> None:
        for municipality in towns:
            municipalities.add_municipality(session, municipality)

    await database.run(work)
    return towns


async def add(database: Database, *placed: Placed) -> None:
    def work(session: Session) -> None:
        for one in placed:
            endpoints.add_endpoint(session, one, NOW)

    await database.run(work)


async def remove(database: Database, municipality_uid: str, binding: RoleBinding) -> RoleBinding:
    return await database.run(lambda session: bindings.remove_binding(session, municipality_uid, binding.uid))


async def test_the_migrations_make_the_tables_that_the_queries_use(database: Database) -> None:
    def columns(session: Session) -> dict[str, set[str]]:
        inspector = inspect(session.connection())
        return {
            table: {column["name"] for column in inspector.get_columns(table)}
            for table in RegistryTable.metadata.tables
        }

    expected = {
        name: {column.name for column in table.columns} for name, table in RegistryTable.metadata.tables.items()
    }
    assert await database.read(columns) == expected


class TestMunicipalities:
    async def test_what_is_stored_comes_back(self, database: Database) -> None:
        borken = replace(town("borken"), synthetic=True, time_zone="Europe/Vienna")
        await stored(database, borken)
        assert await database.read(lambda session: municipalities.get_municipality(session, borken.uid)) == borken

    async def test_an_id_is_taken_once(self, database: Database) -> None:
        await stored(database, town("borken"))
        with pytest.raises(AlreadyExists, match="municipalities/borken"):
            await stored(database, town("borken"))

    async def test_two_at_once_cannot_take_one_id(self, database: Database) -> None:
        results = await asyncio.gather(*(stored(database, town("borken")) for _ in range(4)), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["AlreadyExists"] * 3 + ["tuple"]

    async def test_they_are_listed_by_id_and_page_by_page(self, database: Database) -> None:
        await stored(database, *(town(name) for name in ("neukirchen", "bad-z", "bad-hersfeld", "badenau", "borken")))
        first = await database.read(lambda s: municipalities.list_municipalities(s, EVERYTHING, limit=3))
        assert [one.id for one in first] == ["bad-hersfeld", "bad-z", "badenau"]
        rest = await database.read(lambda s: municipalities.list_municipalities(s, EVERYTHING, after_id="badenau"))
        assert [one.id for one in rest] == ["borken", "neukirchen"]

    async def test_only_visible_ones_are_listed(self, database: Database) -> None:
        await stored(database, town("borken"), town("felsberg"))
        visible = Visible(frozenset({"felsberg", "unknown"}))
        found = await database.read(lambda session: municipalities.list_municipalities(session, visible))
        assert [one.id for one in found] == ["felsberg"]
        assert not await database.read(lambda s: municipalities.list_municipalities(s, Visible(frozenset())))

    async def test_a_change_is_a_new_version(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))

        def change(session: Session) -> Municipality:
            before = municipalities.get_municipality(session, borken.uid, lock=True)
            return municipalities.replace_municipality(session, before.changed(display_name="Borken (Hessen)"))

        changed = await database.run(change)
        assert changed.version == 2
        assert await database.read(lambda s: municipalities.get_municipality(s, borken.uid)) == changed

    async def test_one_that_is_gone_is_not_found(self, database: Database) -> None:
        with pytest.raises(NotFound):
            await database.read(lambda session: municipalities.get_municipality(session, "nobody"))


class TestUnions:
    async def test_a_union_lists_its_members(self, database: Database) -> None:
        await stored(database, town("felsberg"), town("borken"))
        union = Union(new_uid(), "schwalm-eder-west", "Schwalm-Eder-West", ("borken", "felsberg"))
        await database.run(lambda session: municipalities.add_union(session, union, NOW))
        assert await database.read(lambda session: municipalities.list_unions(session, EVERYTHING)) == [union]

    async def test_members_must_exist(self, database: Database) -> None:
        await stored(database, town("borken"))
        union = Union(new_uid(), "west", "West", ("borken", "nowhere"))
        with pytest.raises(InvalidInput, match="nowhere"):
            await database.run(lambda session: municipalities.add_union(session, union, NOW))

    async def test_an_id_is_taken_once(self, database: Database) -> None:
        await stored(database, town("borken"))
        first, second = (Union(new_uid(), "west", "West", ("borken",)) for _ in range(2))
        await database.run(lambda session: municipalities.add_union(session, first, NOW))
        with pytest.raises(AlreadyExists, match="unions/west"):
            await database.run(lambda session: municipalities.add_union(session, second, NOW))

    async def test_only_those_with_every_member_visible_are_listed(self, database: Database) -> None:
        await stored(database, town("borken"), town("felsberg"), town("knuellwald"))

        def work(session: Session) -> None:
            municipalities.add_union(session, Union(new_uid(), "a", "A", ("borken", "felsberg")), NOW)
            municipalities.add_union(session, Union(new_uid(), "b", "B", ("felsberg", "knuellwald")), NOW)

        await database.run(work)
        visible = Visible(frozenset({"borken", "felsberg"}))
        found = await database.read(lambda session: municipalities.list_unions(session, visible))
        assert [union.id for union in found] == ["a"]


class TestBindings:
    async def test_a_person_s_bindings_are_found_until_they_end(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        lasting = RoleBinding(new_uid(), "", "-", "u-1", Role.VIEWER)
        cabinet = ("municipalities/borken/cabinets/C-1",)
        ending = RoleBinding(new_uid(), borken.uid, "borken", "u-1", Role.FITTER, cabinet, NOW + timedelta(days=1))
        other = RoleBinding(new_uid(), borken.uid, "borken", "u-2", Role.ADMIN)

        def work(session: Session) -> None:
            for binding in (lasting, ending, other):
                bindings.add_binding(session, binding, NOW)

        await database.run(work)
        assert await database.read(lambda session: bindings.bindings_of(session, "u-1", NOW)) == [lasting, ending]
        later = NOW + timedelta(days=1)
        assert await database.read(lambda session: bindings.bindings_of(session, "u-1", later)) == [lasting]

    async def test_the_same_binding_is_not_made_twice(self, database: Database) -> None:
        binding = RoleBinding(new_uid(), "", "-", "u-1", Role.VIEWER)
        await database.run(lambda session: bindings.add_binding(session, binding, NOW))
        with pytest.raises(AlreadyExists, match=binding.uid):
            await database.run(lambda session: bindings.add_binding(session, replace(binding, uid=new_uid()), NOW))

    async def test_a_binding_that_ended_may_be_made_again(self, database: Database) -> None:
        end = NOW + timedelta(days=1)
        ended = RoleBinding(new_uid(), "", "-", "u-1", Role.VIEWER, (), end)
        await database.run(lambda session: bindings.add_binding(session, ended, NOW))
        again = replace(ended, uid=new_uid(), expires_at=end + timedelta(days=1))
        await database.run(lambda session: bindings.add_binding(session, again, end))
        assert await database.read(lambda session: bindings.bindings_of(session, "u-1", end)) == [again]

    async def test_they_are_listed_by_municipality(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        here = RoleBinding(new_uid(), borken.uid, "borken", "u-1", Role.VIEWER)
        there = RoleBinding(new_uid(), felsberg.uid, "felsberg", "u-1", Role.VIEWER)
        everywhere = RoleBinding(new_uid(), "", "-", "u-1", Role.VIEWER)

        def work(session: Session) -> None:
            for binding in (here, there, everywhere):
                bindings.add_binding(session, binding, NOW)

        await database.run(work)

        async def listed(uids: list[str], *, of_every_one: bool, after: str | None = None) -> list[RoleBinding]:
            return list(
                await database.read(
                    lambda s: bindings.list_bindings(s, uids, of_every_one=of_every_one, after_uid=after)
                )
            )

        assert await listed([borken.uid], of_every_one=False) == [here]
        assert await listed([borken.uid, felsberg.uid], of_every_one=True) == [here, there, everywhere]
        assert await listed([borken.uid, felsberg.uid], of_every_one=True, after=here.uid) == [there, everywhere]

    async def test_one_is_removed_only_from_where_it_is(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        binding = RoleBinding(new_uid(), borken.uid, "borken", "u-1", Role.ADMIN)
        await database.run(lambda session: bindings.add_binding(session, binding, NOW))
        for elsewhere in (felsberg.uid, ""):
            with pytest.raises(NotFound):
                await remove(database, elsewhere, binding)
        assert await remove(database, borken.uid, binding) == binding
        assert not await database.read(bindings.has_bindings)

    async def test_the_last_administrator_of_everything_stays(self, database: Database) -> None:
        first = RoleBinding(new_uid(), "", "-", "u-1", Role.ADMIN)
        second = RoleBinding(new_uid(), "", "-", "u-2", Role.ADMIN)
        ending = RoleBinding(new_uid(), "", "-", "u-3", Role.ADMIN, (), NOW + timedelta(days=1))

        def work(session: Session) -> None:
            for binding in (first, second, ending):
                bindings.add_binding(session, binding, NOW)

        await database.run(work)
        results = await asyncio.gather(
            *(remove(database, "", binding) for binding in (first, second)),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["FailedPrecondition", "RoleBinding"]


class TestEndpoints:
    async def test_what_is_stored_comes_back(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        placed = lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1:502?unit=3")
        await add(database, placed)
        found = await database.read(lambda session: endpoints.get_endpoint(session, borken.uid, name_of(placed)))
        assert found == placed.endpoint

    async def test_another_municipality_s_is_not_found(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        placed = lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1")
        await add(database, placed)
        with pytest.raises(NotFound):
            await database.read(lambda session: endpoints.get_endpoint(session, felsberg.uid, name_of(placed)))

    async def test_an_id_is_taken_once_per_municipality(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1"))
        await add(database, lamp_gateway(felsberg, "C-001", "modbus+tcp://10.0.0.2"))
        with pytest.raises(AlreadyExists, match="endpoints/C-001"):
            await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.3"))

    async def test_a_bus_has_one_owner(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1?unit=1"))
        await add(database, lamp_gateway(borken, "C-001b", "modbus+tcp://10.0.0.1?unit=2"))
        with pytest.raises(FailedPrecondition, match="belongs to lighting"):
            await add(database, lamp_gateway(borken, "M-1", "modbus+rtutcp://10.0.0.1?unit=3", Owner.METERING))

    async def test_a_bus_has_one_owner_across_municipalities(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1"))
        with pytest.raises(FailedPrecondition, match="one owning service"):
            await add(database, lamp_gateway(felsberg, "M-1", "modbus+tcp://10.0.0.1?unit=2", Owner.METERING))

    async def test_a_station_is_one_endpoint(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1?unit=1"))
        with pytest.raises(FailedPrecondition, match="is endpoints/C-001 already"):
            await add(database, lamp_gateway(borken, "C-002", "modbus+tcp://10.0.0.1:502"))
        with pytest.raises(FailedPrecondition, match="is another endpoint's already") as caught:
            await add(database, lamp_gateway(felsberg, "C-002", "modbus+tcp://10.0.0.1:502"))
        assert "C-001" not in str(caught.value)

    async def test_a_bus_is_of_one_municipality_whatever_the_station(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1?unit=1"))
        with pytest.raises(FailedPrecondition, match="in another municipality"):
            await add(database, lamp_gateway(felsberg, "C-001", "modbus+tcp://10.0.0.1?unit=2"))
        await add(database, lamp_gateway(felsberg, "C-001", "modbus+tcp://10.0.0.2"))

    async def test_two_services_at_once_cannot_both_own_a_bus(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        claims = [
            lamp_gateway(borken, f"E-{unit}", f"modbus+tcp://10.0.0.1?unit={unit}", owner)
            for unit, owner in enumerate([Owner.LIGHTING, Owner.METERING] * 4, start=1)
        ]
        results = await asyncio.gather(*(add(database, claim) for claim in claims), return_exceptions=True)
        assert results.count(None) == 4
        assert sum(isinstance(result, FailedPrecondition) for result in results) == 4
        found = await database.read(lambda session: endpoints.list_endpoints(session, [borken.uid]))
        assert len({placed.endpoint.owner for placed in found}) == 1

    async def test_a_refused_endpoint_leaves_no_claim_behind(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1"))
        with pytest.raises(AlreadyExists):
            await add(database, lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.2"))
        await add(database, lamp_gateway(borken, "M-1", "modbus+tcp://10.0.0.2", Owner.METERING))

    async def test_an_address_that_was_left_may_be_owned_by_another(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        moving = lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1")
        staying = lamp_gateway(borken, "C-002", "modbus+tcp://10.0.0.9?unit=1")
        await add(database, moving, staying)

        def move(session: Session) -> Endpoint:
            before = endpoints.get_endpoint(session, borken.uid, name_of(moving), lock=True)
            after = before.changed(url="modbus+tcp://10.0.0.9?unit=2")
            return endpoints.replace_endpoint(session, before, after)

        moved = await database.run(move)
        assert moved.version == 2
        buses = await database.read(lambda session: session.exec(select(FieldBusRow.bus)).all())
        assert buses == ["10.0.0.9:502"]
        await add(database, lamp_gateway(borken, "M-1", "modbus+tcp://10.0.0.1", Owner.METERING))

    async def test_an_endpoint_cannot_move_to_another_s_address(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        one = lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1")
        meter = lamp_gateway(borken, "M-1", "modbus+tcp://10.0.0.2", Owner.METERING)
        await add(database, one, meter, lamp_gateway(borken, "C-002", "modbus+tcp://10.0.0.3"))
        for url, reason in (("modbus+tcp://10.0.0.2?unit=9", "metering"), ("modbus+tcp://10.0.0.3", "C-002")):

            def move(session: Session, url: str = url) -> Endpoint:
                before = endpoints.get_endpoint(session, borken.uid, name_of(one), lock=True)
                return endpoints.replace_endpoint(session, before, before.changed(url=url))

            with pytest.raises(FailedPrecondition, match=reason):
                await database.run(move)

    async def test_a_release_is_stored_with_its_person(self, database: Database) -> None:
        (borken,) = await stored(database, town("borken"))
        placed = lamp_gateway(borken, "C-001", "modbus+tcp://10.0.0.1")
        await add(database, placed)

        def release(session: Session) -> Endpoint:
            current = endpoints.get_endpoint(session, borken.uid, name_of(placed), lock=True)
            for target in (State.OBSERVED, State.TESTED, State.IN_CONTROL):
                after = current.moved_to(target, by="u-ada", is_person=True, at=NOW)
                current = endpoints.replace_endpoint(session, current, after)
            return current

        released = await database.run(release)
        assert released.version == 4
        found = await database.read(lambda session: endpoints.get_endpoint(session, borken.uid, name_of(placed)))
        assert (found.state, found.released_by, found.released_at) == (State.IN_CONTROL, "u-ada", NOW)

    async def test_they_are_listed_by_name_across_municipalities(self, database: Database) -> None:
        borken, felsberg = await stored(database, town("borken"), town("felsberg"))
        await add(
            database,
            lamp_gateway(felsberg, "C-1", "modbus+tcp://10.0.1.1"),
            lamp_gateway(borken, "b", "modbus+tcp://10.0.0.3"),
            lamp_gateway(borken, "C-2", "modbus+tcp://10.0.0.2", Owner.METERING),
            lamp_gateway(borken, "C-10", "modbus+tcp://10.0.0.1"),
        )
        uids = [borken.uid, felsberg.uid]

        async def names(**query: object) -> list[str]:
            found = await database.read(
                lambda session: endpoints.list_endpoints(session, uids, **query)  # type: ignore[arg-type]
            )
            return [f"{placed.municipality_id}/{placed.endpoint.id}" for placed in found]

        assert await names() == ["borken/C-10", "borken/C-2", "borken/b", "felsberg/C-1"]
        assert await names(limit=2) == ["borken/C-10", "borken/C-2"]
        assert await names(after=("borken", "C-2")) == ["borken/b", "felsberg/C-1"]
        assert await names(owner=Owner.METERING) == ["borken/C-2"]
