"""What every group of the scheduler's methods works with, and how a list runs over several municipalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from sqlmodel import Session

from domain.errors import LichtbuchError
from domain.names import new_uid
from domain.night import lighting_night, zone
from servicekit.clock import Clock
from servicekit.context import Tenant, current_tenants
from servicekit.database import Database
from servicekit.paging import Page, page
from services.scheduler.api.foresight import Foresight
from services.scheduler.api.year_ahead import groups_following, look_ahead, not_looked_ahead
from services.scheduler.calendar import Calendar
from services.scheduler.lighting import Lighting
from services.scheduler.records import Town
from services.scheduler.store.assignments import load_town
from services.scheduler.store.shelf import Moment
from services.scheduler.synchronising import Synchroniser

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Identified(Protocol):
    """Whatever has an id that is unique within its municipality."""

    @property
    def id(self) -> str:
        """The id."""
        ...


Item = TypeVar("Item", bound=Identified)
Listed = TypeVar("Listed", covariant=True)


class ListOf(Protocol[Listed]):
    """A query of the store: things of a municipality in the order of their ids."""

    def __call__(
        self, session: Session, municipality_uid: str, *, after_id: str | None = None, limit: int | None = None
    ) -> Sequence[Listed]:
        """Those after `after_id`, at most `limit`."""
        ...


class Calls:
    """A group of methods."""

    def __init__(self, database: Database, clock: Clock, lighting: Lighting, synchroniser: Synchroniser) -> None:
        self.database = database
        self.clock = clock
        self.lighting = lighting
        self.synchroniser = synchroniser

    def moment(self) -> Moment:
        """Now, on both clocks."""
        return Moment(self.clock.now(), self.clock.real())

    def foresight(self, session: Session, tenant: Tenant) -> Foresight:
        """What can be foreseen in a municipality now."""
        return Foresight(session, tenant, self.clock.now())

    async def year_ahead(self, tenant: Tenant, following: Callable[[Town], Mapping[str, Calendar]]) -> list[str]:
        """What goes wrong within a year at groups, by uid with their calendars, of the municipality as it stands.

        It never keeps from anything: where lighting does not answer, that is told.
        """
        town = await self.database.read(lambda session: load_town(session, tenant.uid))
        calendars = following(town)
        if not calendars:
            return []
        first_night = lighting_night(self.clock.now(), zone(tenant.time_zone))
        try:
            groups = await groups_following(self.lighting, tenant, calendars)
            with_calendars = [(group, calendars[group.uid]) for group in groups]
            return await look_ahead(self.lighting, tenant, town, with_calendars, first_night)
        except LichtbuchError as error:
            return [not_looked_ahead(error)]

    async def warnings_of(
        self, found: Sequence[tuple[Tenant, Item]], look: Callable[[Foresight, Item], list[str]]
    ) -> list[list[str]]:
        """The warnings of each thing on a page, in its order."""

        def find(session: Session) -> list[list[str]]:
            seen = {tenant.uid: self.foresight(session, tenant) for tenant, _ in found}
            return [look(seen[tenant.uid], item) for tenant, item in found]

        return await self.database.read(find)

    async def page_of(self, request: Message, query: ListOf[Item]) -> Page[tuple[Tenant, Item]]:
        """A page of what the municipalities hold that the request is about, in the order of the names."""
        tenants = sorted(current_tenants(), key=lambda tenant: tenant.id)
        return await self.database.read(
            lambda session: page(
                request,
                lambda after, limit: list_over(session, tenants, query, after, limit),
                lambda found: [found[0].id, found[1].id],
            )
        )


def list_over(
    session: Session,
    tenants: Sequence[Tenant],
    query: ListOf[Item],
    after: list[str | int | None] | None,
    limit: int,
) -> list[tuple[Tenant, Item]]:
    """Things of several municipalities, in the order of both ids; `after` holds the ids of both to go on from."""
    start, start_id = (str(after[0]), str(after[-1])) if after else ("", "")
    found: list[tuple[Tenant, Item]] = []
    for tenant in tenants:
        if tenant.id < start or len(found) >= limit:
            continue
        after_id = start_id if tenant.id == start else None
        items = query(session, tenant.uid, after_id=after_id, limit=limit - len(found))
        found += [(tenant, item) for item in items]
    return found


def chosen_id(given: str) -> str:
    """The id that a client chose, else one of the server's choice."""
    return given or new_uid()
