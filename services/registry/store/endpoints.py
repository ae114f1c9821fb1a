"""Field endpoints: stored, changed, listed; one owner per bus, one endpoint per station."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import tuple_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select

from domain.errors import AlreadyExists, FailedPrecondition, NotFound
from domain.names import ResourceName
from servicekit.columns import insert_ignore
from services.registry.endpoint import Endpoint, FieldLink, Owner, State
from services.registry.field_url import FieldUrl
from services.registry.store.tables import EndpointRow, FieldBusRow, MunicipalityRow


@dataclass(frozen=True, slots=True)
class Placed:
    """An endpoint with the municipality's alias of today, which its name begins with."""

    municipality_id: str
    endpoint: Endpoint

    @property
    def name(self) -> str:
        """Its resource name."""
        return f"municipalities/{self.municipality_id}/endpoints/{self.endpoint.id}"


def add_endpoint(session: Session, placed: Placed, created_at: datetime) -> None:
    """Stores a new endpoint. Raises AlreadyExists for its id, FailedPrecondition for its address."""
    endpoint = placed.endpoint
    taken = select(EndpointRow.uid).where(
        EndpointRow.municipality_uid == endpoint.municipality_uid, EndpointRow.id == endpoint.id
    )
    if session.exec(taken).first():
        raise AlreadyExists(placed.name)
    _claim(session, endpoint)
    session.add(_row(endpoint, created_at))
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise AlreadyExists(placed.name, f"{placed.name} or its address was taken a moment ago") from error


def get_endpoint(session: Session, municipality_uid: str, name: ResourceName, *, lock: bool = False) -> Endpoint:
    """An endpoint by name, locked until the end of the transaction where it is about to change. Raises NotFound."""
    query = select(EndpointRow).where(EndpointRow.municipality_uid == municipality_uid, EndpointRow.id == name.id)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(str(name))
    return _endpoint(row)


def replace_endpoint(session: Session, before: Endpoint, after: Endpoint) -> Endpoint:
    """Stores a changed endpoint as its next version. `before` was read with its lock in the same transaction.

    Raises FailedPrecondition where the new address is another's.
    """
    moved = (before.address.bus, before.address.station) != (after.address.bus, after.address.station)
    if moved:
        _claim(session, after)
    stored = replace(after, version=before.version + 1)
    row = session.get_one(EndpointRow, stored.uid)
    for field, value in _columns(stored).items():
        setattr(row, field, value)
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise FailedPrecondition.of("url", "the address was taken a moment ago") from error
    if before.address.bus != after.address.bus:
        _release(session, before.address.bus)
    return stored


def list_endpoints(
    session: Session,
    municipality_uids: Collection[str],
    *,
    owner: Owner | None = None,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> Sequence[Placed]:
    """Endpoints in the order of their names. `after` holds the ids of municipality and endpoint to go on from."""
    key = tuple_(col(MunicipalityRow.id), col(EndpointRow.id))
    query = (
        select(EndpointRow, MunicipalityRow.id)
        .join(MunicipalityRow, col(MunicipalityRow.uid) == col(EndpointRow.municipality_uid))
        .where(col(EndpointRow.municipality_uid).in_(municipality_uids))
        .order_by(col(MunicipalityRow.id), col(EndpointRow.id))
    )
    if owner is not None:
        query = query.where(EndpointRow.owner == owner.value)
    if after is not None:
        query = query.where(key > after)
    if limit is not None:
        query = query.limit(limit)
    return [Placed(identifier, _endpoint(row)) for row, identifier in session.exec(query)]


def _claim(session: Session, endpoint: Endpoint) -> None:
    """Makes sure that the bus is the owner's and the station free. Holds the bus until the end of the transaction."""
    bus = _own_bus(session, endpoint)
    if bus.owner != endpoint.owner.value:
        raise FailedPrecondition.of(
            "url", f"{bus.bus} belongs to {bus.owner}: what is connected to has one owning service"
        )
    foreign = select(EndpointRow.uid).where(
        EndpointRow.bus == bus.bus, EndpointRow.municipality_uid != endpoint.municipality_uid
    )
    if session.exec(foreign.limit(1)).first() is not None:
        # Many gateways do not look at the unit: another station would be the neighbour's lamps all the same.
        raise FailedPrecondition.of("url", f"{bus.bus} is another endpoint's already, in another municipality")
    query = select(EndpointRow).where(
        EndpointRow.bus == bus.bus, EndpointRow.station == endpoint.address.station, EndpointRow.uid != endpoint.uid
    )
    other = session.exec(query).first()
    if other is None:
        return
    station = endpoint.address.station
    raise FailedPrecondition.of("url", f"{bus.bus}, station {station}, is endpoints/{other.id} already")


def _own_bus(session: Session, endpoint: Endpoint) -> FieldBusRow:
    wanted = {"bus": endpoint.address.bus, "owner": endpoint.owner.value}
    while True:
        insert_ignore(session, FieldBusRow, [wanted])
        query = select(FieldBusRow).where(FieldBusRow.bus == wanted["bus"]).with_for_update()
        row = session.exec(query.execution_options(populate_existing=True)).first()
        if row is not None:
            return row
        # It was given up between the two statements: then it is free to be claimed.


def _release(session: Session, bus: str) -> None:
    """Forgets a bus that no endpoint is on any more, so that another service may own it."""
    session.exec(select(FieldBusRow).where(FieldBusRow.bus == bus).with_for_update())
    if session.exec(select(EndpointRow.uid).where(EndpointRow.bus == bus).limit(1)).first() is None:
        session.exec(delete(FieldBusRow).where(col(FieldBusRow.bus) == bus))


def _row(endpoint: Endpoint, created_at: datetime) -> EndpointRow:
    return EndpointRow(uid=endpoint.uid, created_at=created_at, **_columns(endpoint))


def _columns(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "municipality_uid": endpoint.municipality_uid,
        "id": endpoint.id,
        "display_name": endpoint.display_name,
        "url": endpoint.address.url,
        "bus": endpoint.address.bus,
        "station": endpoint.address.station,
        "profile": endpoint.profile,
        "owner": endpoint.owner.value,
        "state": endpoint.state.value,
        "released_by": endpoint.released_by,
        "released_at": endpoint.released_at,
        "version": endpoint.version,
        "round_trip_ms": endpoint.link.round_trip_ms,
        "monthly_bytes": endpoint.link.monthly_bytes,
    }


def _endpoint(row: EndpointRow) -> Endpoint:
    return Endpoint(
        uid=row.uid,
        municipality_uid=row.municipality_uid,
        id=row.id,
        display_name=row.display_name,
        address=FieldUrl(row.url, row.bus, row.station),
        profile=row.profile,
        owner=Owner(row.owner),
        state=State(row.state),
        released_by=row.released_by,
        released_at=row.released_at,
        version=row.version,
        link=FieldLink(row.round_trip_ms, row.monthly_bytes),
    )
