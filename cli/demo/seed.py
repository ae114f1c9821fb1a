"""Puts the simulator's town into the services, by the calls that any client makes, as the demonstration's admin.

What is there already stays as it is, so that a second start finds its town again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.commands.imports import send_inventory
from cli.commands.levels import domain_now
from cli.demo import buildings as invented
from cli.demo import inventory as demo
from cli.demo.layout import ADMIN_SUBJECT, SERVICES, Layout
from cli.importing.luminaires import read_inventory
from cli.importing.mapping import make_mapping
from cli.importing.tables import read_table
from cli.session import Session
from domain.errors import AlreadyExists, InvalidInput, LichtbuchError, RetryableError, Unavailable
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import lighting_pb2, sensors_pb2
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from servicekit.convert import timestamp_to_proto

T = TypeVar("T")

PATIENCE_S: Final = 90.0
AT_ONCE: Final = 16
# Subjects of the issuer's demonstration users and what they are to the town; scopes are filled in from the town.
ROLES: Final = {
    "u-3f9a1c72": registry_pb2.ROLE_VIEWER,
    "u-b4408e15": registry_pb2.ROLE_OPERATOR,
    "u-27d6f0a9": registry_pb2.ROLE_PLANNER,
    "u-91e35bd4": registry_pb2.ROLE_AUDITOR,
    ADMIN_SUBJECT: registry_pb2.ROLE_ADMIN,
    "u-d85a94c3": registry_pb2.ROLE_CONTRACTOR,
    "u-6e12a7b0": registry_pb2.ROLE_FITTER,
}
RELEASE: Final = (
    registry_pb2.ENDPOINT_STATE_OBSERVED,
    registry_pb2.ENDPOINT_STATE_TESTED,
    registry_pb2.ENDPOINT_STATE_IN_CONTROL,
)


async def until_answering(what: str, ask: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Wait until something answers as it should. Raises Unavailable that names it."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience_s
    while True:
        try:
            if await ask():
                return
        except (httpx.HTTPError, grpc.aio.AioRpcError, OSError, RetryableError):
            pass
        if loop.time() > give_up:
            raise Unavailable(f"{what} does not answer after {patience_s:.0f} s")
        await asyncio.sleep(0.2)


async def healthy(address: str, service: str = "") -> bool:
    """Whether a gRPC server says it serves."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=2)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def wait_for_everything(layout: Layout) -> None:
    """Wait until issuer, simulator and services are up."""
    async with httpx.AsyncClient(timeout=5) as client:

        async def answers(url: str) -> bool:
            return (await client.get(url)).status_code == 200

        await until_answering("the simulator", lambda: answers(f"{layout.simulator}/healthz"))
        await until_answering("the issuer", lambda: answers(f"{layout.issuer}/.well-known/openid-configuration"))
    for service in SERVICES:
        address = layout.address(service)

        async def asked(address: str = address) -> bool:
            return await healthy(address)

        await until_answering(service, asked)


async def demonstration_token(issuer: str, user: str) -> str:
    """A demonstration user's token. Raises Unavailable."""
    form = {"grant_type": "password", "client_id": "lichtbuch-cli", "username": user, "password": f"demo-{user}"}
    async with httpx.AsyncClient(timeout=10) as client:
        metadata = (await client.get(f"{issuer}/.well-known/openid-configuration")).raise_for_status().json()
        answer = await client.post(metadata["token_endpoint"], data=form)
    if answer.status_code != 200:
        raise Unavailable(f"the issuer gives {user} no token: {answer.text[:200]}")
    return str(answer.json()["access_token"])


async def fetch_town(simulator: str) -> dict[str, Any]:
    """The simulator's town."""
    async with httpx.AsyncClient(timeout=60) as client:
        town: dict[str, Any] = (await client.get(f"{simulator}/town")).raise_for_status().json()
    return town


async def unless_there(call: Awaitable[T]) -> T | None:
    """The answer, or None where the resource exists already."""
    try:
        return await call
    except AlreadyExists:
        return None


async def all_at_once(calls: Iterable[Awaitable[Any]]) -> None:
    """Many calls, a few at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(call: Awaitable[Any]) -> None:
        async with gate:
            await call

    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(gated(call))


class Seeding:
    """Puts one town in. `say` is told what happens."""

    def __init__(self, session: Session, town: dict[str, Any], say: Callable[[str], None]) -> None:
        self.session = session
        self.town = town
        self.say = say

    async def everything(self, scratch: Path) -> None:
        """The whole town, in the order in which things refer to each other."""
        await self.registry()
        await self.lighting(scratch)
        await self.scheduler()
        await self.metering()
        await self.ledger()

    async def registry(self) -> None:
        """Municipality, endpoints released into control, roles."""
        stub = self.session.registry
        wanted = registry_pb2.CreateMunicipalityRequest(
            municipality_id=demo.MUNICIPALITY, municipality=demo.municipality(self.town)
        )
        await unless_there(stub.CreateMunicipality(wanted))
        self.session.municipality_id = demo.MUNICIPALITY

        async def endpoint(item: dict[str, Any]) -> None:
            request = registry_pb2.CreateEndpointRequest(
                parent=demo.PARENT, endpoint_id=item["id"], endpoint=demo.endpoint(item)
            )
            if await unless_there(stub.CreateEndpoint(request)) is None:
                return
            for state in RELEASE:
                await stub.TransitionEndpoint(
                    registry_pb2.TransitionEndpointRequest(
                        name=demo.name("endpoints", item["id"]), state=state, reason="demonstration: simulated device"
                    )
                )

        await all_at_once(endpoint(item) for item in self.town["endpoints"])
        self.say(f"registry: {self.town['name']}, {len(self.town['endpoints'])} field endpoints released into control")

    async def roles(self) -> None:
        """The demonstration users' roles; last, for two of them are limited to what has to be there."""
        scopes = {
            registry_pb2.ROLE_CONTRACTOR: [demo.name("measures", "led-metered")],
            registry_pb2.ROLE_FITTER: [demo.name("cabinets", self.town["cabinets"][0]["id"])],
        }
        held = await self.session.registry.ListRoleBindings(
            registry_pb2.ListRoleBindingsRequest(parent=demo.PARENT, page_size=100)
        )
        there = {binding.subject for binding in held.role_bindings}
        for subject, role in ROLES.items():
            if subject in there:
                continue
            binding = registry_pb2.RoleBinding(subject=subject, role=role, scopes=scopes.get(role, []))
            request = registry_pb2.CreateRoleBindingRequest(parent=demo.PARENT, role_binding=binding)
            await unless_there(self.session.registry.CreateRoleBinding(request))

    async def lighting(self, scratch: Path) -> None:
        """Models, cabinets, feeders, gateways, sensors; then the luminaires from a file, as any town imports them."""
        stub, parent, town = self.session.lighting, demo.PARENT, self.town
        await all_at_once(
            unless_there(
                stub.CreateLuminaireModel(
                    lighting_pb2.CreateLuminaireModelRequest(
                        parent=parent, luminaire_model_id=item["id"], luminaire_model=demo.model(item)
                    )
                )
            )
            for item in town["models"]
        )
        await all_at_once(
            unless_there(
                stub.CreateCabinet(
                    lighting_pb2.CreateCabinetRequest(parent=parent, cabinet_id=item["id"], cabinet=demo.cabinet(item))
                )
            )
            for item in town["cabinets"]
        )
        await all_at_once(
            unless_there(
                stub.CreateFeeder(
                    lighting_pb2.CreateFeederRequest(parent=parent, feeder_id=item["id"], feeder=demo.feeder(item))
                )
            )
            for item in town["feeders"]
        )
        await all_at_once(
            unless_there(
                stub.CreateGateway(lighting_pb2.CreateGatewayRequest(parent=parent, gateway_id=key, gateway=item))
            )
            for key, item in demo.gateways(town).items()
        )
        await all_at_once(
            unless_there(stub.CreateSensor(sensors_pb2.CreateSensorRequest(parent=parent, sensor_id=key, sensor=item)))
            for key, item in demo.sensors(town).items()
        )
        file = scratch / "luminaires.csv"
        demo.write_inventory(town, file)
        table = read_table(file)
        found = read_inventory(table, make_mapping(table.columns, {}), crs="EPSG:4326")
        report = await send_inventory(self.session, found, skip_invalid=False, dry_run=False)
        if not report.committed:
            reasons = [f"line {item.source_line}, {item.column}: {item.reason}" for item in report.refused_lines[:5]]
            raise InvalidInput.of("luminaires", f"{report.refused} lines refused: {'; '.join(reasons)}")
        self.say(
            f"lighting: {len(town['cabinets'])} cabinets, {len(found.rows)} luminaires imported from {file}"
            f" ({report.created} new)"
        )

    async def scheduler(self) -> None:
        """Profiles, a calendar each, and which group follows which."""
        stub, parent = self.session.scheduler, demo.PARENT
        for key, profile in demo.profiles().items():
            request = scheduler_pb2.CreateProfileRequest(parent=parent, profile_id=key, profile=profile)
            await unless_there(stub.CreateProfile(request))
        groups = sorted({demo.group_of(lamp) for lamp in self.town["luminaires"]})
        for group in groups:
            profile_name = demo.name("profiles", demo.PROFILE_OF_GROUP[group])
            calendar = scheduler_pb2.Calendar(display_name=f"Every night: {group}", default_profile=profile_name)
            await unless_there(
                stub.CreateCalendar(
                    scheduler_pb2.CreateCalendarRequest(parent=parent, calendar_id=group, calendar=calendar)
                )
            )
            assignment = scheduler_pb2.Assignment(
                group=demo.name("groups", group), calendar=demo.name("calendars", group)
            )
            await unless_there(
                stub.CreateAssignment(
                    scheduler_pb2.CreateAssignmentRequest(parent=parent, assignment_id=group, assignment=assignment)
                )
            )
        answer = await stub.SynchronisePlans(scheduler_pb2.SynchronisePlansRequest(parent=parent))
        if answer.refused:
            raise InvalidInput.of("plans", "; ".join(answer.refused))
        self.say(f"scheduler: {len(groups)} groups follow their profiles")

    async def metering(self) -> None:
        """Meters of cabinets and buildings."""
        stub, parent = self.session.metering, demo.PARENT
        buildings = {item["id"]: item for item in self.town["buildings"]}

        async def meter(item: dict[str, Any]) -> None:
            wanted = demo.meter(item, buildings)
            request = metering_pb2.CreateMeterRequest(parent=parent, meter_id=item["id"], meter=wanted)

            async def created() -> bool:
                await unless_there(stub.CreateMeter(request))
                return True

            await until_answering("metering", created, 30)

        await all_at_once(meter(item) for item in self.town["meters"])
        self.say(f"metering: {len(self.town['meters'])} meters, read on every quarter hour")
        await self.buildings()

    async def buildings(self) -> None:
        """Every kind of meter, where the whole demonstration town is there: some read, most with an invented past."""
        if len(self.town["buildings"]) < invented.NEEDED_BUILDINGS:
            return
        now, stub = await domain_now(self.session), self.session.metering
        building = self.town["buildings"][0]
        main = next(item for item in self.town["meters"] if item["building"] == building["id"])
        new = await invented.put_in(stub, [*invented.housed(building, main), *invented.invented(now)])
        if new:
            await invented.put_weather_in(stub, now)
        self.say(f"metering: {invented.BUILDING} with meters of every kind, their past is invented ({new} new)")

    async def ledger(self) -> None:
        """Measures: the retrofit by meters and by levels, and each building's."""
        metered = {item["cabinet"]: item["id"] for item in self.town["meters"] if item["cabinet"]}
        cabinets = [item["id"] for item in self.town["cabinets"]]
        unmetered = [item for item in cabinets if item not in metered]
        wanted: dict[str, ledger_pb2.Measure] = {}
        if metered:
            wanted["led-metered"] = demo.lighting_measure(
                [item for item in cabinets if item in metered], metered.values(), "LED and dimming, metered cabinets"
            )
        if unmetered:
            wanted["led-unmetered"] = demo.lighting_measure(unmetered, [], "LED and dimming, cabinets without meter")
        for building in self.town["buildings"]:
            meter_id = next(item["id"] for item in self.town["meters"] if item["building"] == building["id"])
            wanted[f"building-{building['id'].lower()}"] = demo.building_measure(building, meter_id)
        # Savings count from now on, by the town's own time.
        since = await domain_now(self.session)
        for key, measure in wanted.items():
            measure.effective_from.CopyFrom(timestamp_to_proto(since))
            request = ledger_pb2.CreateMeasureRequest(parent=demo.PARENT, measure_id=key, measure=measure)
            await unless_there(self.session.ledger.CreateMeasure(request, timeout=60))
        self.say(f"ledger: {len(wanted)} measures, posted by themselves when a night or a day is complete")


async def seed(layout: Layout, say: Callable[[str], None]) -> dict[str, Any]:
    """Wait for everything, put the town in, answer it. Raises errors of domain/errors.py."""
    await wait_for_everything(layout)
    town = await fetch_town(layout.simulator)
    session = Session(token=await demonstration_token(layout.issuer, "admin"), addresses=layout.addresses())
    try:
        seeding = Seeding(session, town, say)
        await seeding.everything(layout.directory / "town")
        await seeding.roles()
    except* LichtbuchError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
    finally:
        await session.close()
    (layout.directory / "town.json").write_text(json.dumps(town, ensure_ascii=False), encoding="utf-8")
    return town
