"""Resources of the inventory: stored, found, listed, changed, deleted; one set of queries for all six kinds.

Everything takes a session: the transaction is the caller's. What is deleted stays as a row, since history refers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, func, select

from domain.errors import AlreadyExists, FailedPrecondition, NotFound
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.store.grouping import rules_naming
from services.lighting.store.revisions import INVENTORY, bump
from services.lighting.store.tables import (
    CabinetRow,
    FeederRow,
    GatewayRow,
    GroupRow,
    LockoutRow,
    LuminaireModelRow,
    LuminaireRow,
    Named,
    SensorRow,
)
from services.lighting.store.versions import add_version

Row = TypeVar("Row", bound=Named)
After = Sequence[str | int | None] | None


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """A kind of resource: its collection, its table, and what may refer to it (table, column, words)."""

    collection: str
    noun: str
    table: type[Row]
    referrers: tuple[tuple[type[Named], str, str], ...] = ()

    def name(self, tenant_id: str, identifier: str) -> str:
        """Resource name."""
        return f"municipalities/{tenant_id}/{self.collection}/{identifier}"


CABINETS: Final = Kind(
    "cabinets", "cabinet", CabinetRow, ((FeederRow, "cabinet_uid", "feeders"), (GatewayRow, "cabinet_uid", "gateways"))
)
FEEDERS: Final = Kind("feeders", "feeder", FeederRow, ((LuminaireRow, "feeder_uid", "luminaires"),))
GATEWAYS: Final = Kind("gateways", "gateway", GatewayRow, ((LuminaireRow, "gateway_uid", "luminaires"),))
MODELS: Final = Kind(
    "luminaireModels", "luminaire model", LuminaireModelRow, ((LuminaireRow, "model_uid", "luminaires"),)
)
GROUPS: Final = Kind("groups", "group", GroupRow, ((LuminaireRow, "group_uid", "luminaires"),))
LUMINAIRES: Final = Kind("luminaires", "luminaire", LuminaireRow)
SENSORS: Final = Kind("sensors", "sensor", SensorRow)

_WIRING: Final[dict[type[Named], tuple[str, ...]]] = {
    CabinetRow: ("controller_uid", "switching_owner"),
    FeederRow: ("cabinet_uid", "channel", "supply"),
    LuminaireRow: ("feeder_uid", "gateway_uid", "gateway_address"),
}
"""What says by which device and contactor something is reached."""


def find(
    session: Session, kind: Kind[Row], municipality_uid: str, identifier: str, *, lock: bool = False
) -> Row | None:
    """A resource by the last part of its name; None where there is none."""
    query = (
        select(kind.table)
        .where(kind.table.municipality_uid == municipality_uid)
        .where(kind.table.id == identifier)
        .where(kind.table.deleted_at_ms == 0)
    )
    return session.exec(query.with_for_update() if lock else query).first()


def get(session: Session, kind: Kind[Row], tenant: Tenant, identifier: str, *, lock: bool = False) -> Row:
    """A resource of a municipality. Raises NotFound."""
    row = find(session, kind, tenant.uid, identifier, lock=lock)
    if row is None:
        raise NotFound(kind.name(tenant.id, identifier))
    return row


def add(session: Session, kind: Kind[Row], tenant: Tenant, row: Row, reason: str = "") -> None:
    """Stores a new resource. Raises AlreadyExists."""
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyExists(kind.name(tenant.id, row.id)) from error
    add_version(session, row, row.created_at_ms, reason)
    bump(session, INVENTORY)


def change(session: Session, row: Named, values: dict[str, Any], now_ms: int, reason: str = "") -> bool:
    """Gives a row new values and a new version, which holds from now (Unix ms of the domain) on.

    False, and nothing is stored, where they are what it has.
    """
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    for name, value in values.items():
        setattr(row, name, value)
    row.version += 1
    session.add(row)
    session.flush()
    add_version(session, row, now_ms, reason)
    bump(session, INVENTORY)
    return True


def delete(session: Session, kind: Kind[Row], tenant: Tenant, row: Row, now_ms: int, reason: str = "") -> None:
    """Marks a resource as deleted. Raises FailedPrecondition while others refer to it."""
    for table, column, words in kind.referrers:
        reference = getattr(table, column)
        count = session.exec(
            select(func.count()).select_from(table).where(reference == row.uid).where(col(table.deleted_at_ms) == 0)
        ).one()
        if count:
            raise FailedPrecondition.of("name", f"{kind.name(tenant.id, row.id)} still has {count} {words}")
    if isinstance(row, CabinetRow | LuminaireModelRow) and (names := rules_naming(session, tenant.uid, row.uid)):
        raise FailedPrecondition.of("name", f"{kind.name(tenant.id, row.id)} is named by the rule of group {names[0]}")
    if isinstance(row, LuminaireRow) and row.feeder_uid and is_locked(session, row.feeder_uid):
        # A lamp that nobody knows of any more would hear the broadcasts of its line.
        raise FailedPrecondition.of("name", f"{kind.name(tenant.id, row.id)} hangs on a locked-out feeder")
    if isinstance(row, FeederRow) and is_locked(session, row.uid):
        raise FailedPrecondition.of("name", f"{kind.name(tenant.id, row.id)} is locked out")
    row.deleted_at_ms = now_ms
    row.version += 1
    session.add(row)
    session.flush()
    add_version(session, row, now_ms, reason)
    bump(session, INVENTORY)


def list_rows(
    session: Session,
    kind: Kind[Row],
    tenants: Sequence[Tenant],
    after: After,
    limit: int,
    where: Callable[[Tenant], Sequence[Any]] = lambda _tenant: (),
) -> list[tuple[Tenant, Row]]:
    """Resources by name: by municipality, then id. `after` is the key (municipality id, id) of the last one seen.

    where: further conditions, per municipality.
    """
    found: list[tuple[Tenant, Row]] = []
    for tenant in sorted(tenants, key=lambda t: t.id):
        if len(found) >= limit:
            break
        if after is not None and tenant.id < str(after[0]):
            continue
        query = (
            select(kind.table)
            .where(kind.table.municipality_uid == tenant.uid)
            .where(kind.table.deleted_at_ms == 0)
            .where(*where(tenant))
            .order_by(col(kind.table.id))
            .limit(limit - len(found))
        )
        if after is not None and tenant.id == after[0]:
            query = query.where(col(kind.table.id) > str(after[1]))
        found += [(tenant, row) for row in session.exec(query)]
    return found


def is_locked(session: Session, feeder_uid: str) -> bool:
    """True while anybody's lock-out of the feeder holds."""
    query = select(LockoutRow.uid).where(LockoutRow.feeder_uid == feeder_uid).where(LockoutRow.released_at_ms == 0)
    return session.exec(query.limit(1)).first() is not None


def locked_of(session: Session, municipality_uid: str) -> set[str]:
    """Uids of the locked-out feeders of a municipality."""
    query = select(LockoutRow.feeder_uid).where(LockoutRow.municipality_uid == municipality_uid)
    return set(session.exec(query.where(LockoutRow.released_at_ms == 0)))


def check_wiring(session: Session, row: Named, values: dict[str, Any]) -> None:
    """Raises FailedPrecondition where a change would take something out of a lock-out that holds.

    What hangs on which contactor may be corrected, but not while somebody works on it and relies on the record.
    """
    wiring = _WIRING.get(type(row), ())
    if not any(name in values and getattr(row, name) != values[name] for name in wiring):
        return
    if isinstance(row, FeederRow):
        feeders = [row.uid]
    elif isinstance(row, CabinetRow):
        feeders = list(session.exec(select(FeederRow.uid).where(FeederRow.cabinet_uid == row.uid)))
    else:
        feeders = [getattr(row, "feeder_uid", None) or ""]
    if locked_of(session, row.municipality_uid).intersection(feeders):
        raise FailedPrecondition.of("name", f"{row.id} belongs to a locked-out feeder: its wiring stays as it is")


def ids_of(session: Session, kind: Kind[Row], municipality_uid: str) -> dict[str, str]:
    """Uid of every resource of a kind, by id."""
    table = table_of(kind.table)
    query = select(table.c.id, table.c.uid).where(table.c.municipality_uid == municipality_uid)
    return {row[0]: row[1] for row in session.connection().execute(query.where(table.c.deleted_at_ms == 0))}
