"""What decides levels, stored: overrides, lock-outs, waivers and plans.

Whether they may be taken is override.py, waiver.py and plan.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from domain.errors import AlreadyExists, NotFound
from domain.plan import Plan
from domain.plan_rule import rule_to_document
from servicekit.context import Tenant
from services.lighting.store.inventory import After
from services.lighting.store.revisions import ORDERS, bump
from services.lighting.store.tables import GroupRow, LockoutRow, OverrideRow, OverrideTargetRow, PlanRow, WaiverRow
from services.lighting.store.waivers import add_targets

OrderRow = TypeVar("OrderRow", OverrideRow, LockoutRow, WaiverRow)

_COLLECTIONS: Final[dict[type[Any], str]] = {OverrideRow: "overrides", LockoutRow: "lockouts", WaiverRow: "waivers"}
_ENDS: Final[dict[type[Any], Any]] = {OverrideRow: OverrideRow.expire_ms, WaiverRow: WaiverRow.review_ms}


def collection_of(table: type[OverrideRow] | type[LockoutRow] | type[WaiverRow]) -> str:
    """Collection of a table's resources."""
    return _COLLECTIONS[table]


def order_name(tenant: Tenant, row: OverrideRow | LockoutRow | WaiverRow) -> str:
    """Resource name of an override, lock-out or waiver."""
    return f"{tenant.name}/{collection_of(type(row))}/{row.id}"


def add_override(session: Session, tenant: Tenant, row: OverrideRow, targets: Sequence[tuple[str, str]]) -> None:
    """Stores an override and what it is for: (uid, name) each. Raises AlreadyExists."""
    _add(session, tenant, row)
    session.add_all(
        OverrideTargetRow(override_uid=row.uid, position=position, target_uid=uid, target_name=name)
        for position, (uid, name) in enumerate(targets)
    )
    session.flush()


def add_lockout(session: Session, tenant: Tenant, row: LockoutRow) -> None:
    """Stores a lock-out. Raises AlreadyExists."""
    _add(session, tenant, row)


def add_waiver(session: Session, tenant: Tenant, row: WaiverRow, targets: Sequence[tuple[str, str]]) -> None:
    """Stores a waiver and what it is for: (uid, name) each. Raises AlreadyExists."""
    _add(session, tenant, row)
    add_targets(session, row.uid, targets)


def get_order(
    session: Session, table: type[OrderRow], tenant: Tenant, identifier: str, *, lock: bool = False
) -> OrderRow:
    """An override, lock-out or waiver by the last part of its name. Raises NotFound."""
    query = select(table).where(table.municipality_uid == tenant.uid).where(table.id == identifier)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"{tenant.name}/{collection_of(table)}/{identifier}")
    return row


def release(session: Session, row: OverrideRow | LockoutRow | WaiverRow, at_ms: int) -> None:
    """Ends an override or a waiver before its time, or a lock-out."""
    row.released_at_ms = at_ms
    session.add(row)
    session.flush()
    bump(session, ORDERS)


def list_orders(
    session: Session,
    table: type[OrderRow],
    tenants: Sequence[Tenant],
    after: After,
    limit: int,
    active_at: int | None,
    where: Callable[[Tenant], Sequence[Any]] = lambda _tenant: (),
) -> list[tuple[Tenant, OrderRow]]:
    """Overrides, lock-outs or waivers by name. `active_at` (Unix ms) leaves out what was released or is over by then.

    where: further conditions, per municipality.
    """
    found: list[tuple[Tenant, OrderRow]] = []
    for tenant in sorted(tenants, key=lambda t: t.id):
        if len(found) >= limit:
            break
        if after is not None and tenant.id < str(after[0]):
            continue
        query = select(table).where(table.municipality_uid == tenant.uid).where(*where(tenant))
        if active_at is not None:
            query = query.where(table.released_at_ms == 0)
            if table in _ENDS:
                query = query.where(col(_ENDS[table]) > active_at)
        if after is not None and tenant.id == after[0]:
            query = query.where(col(table.id) > str(after[1]))
        rows = session.exec(query.order_by(col(table.id)).limit(limit - len(found)))
        found += [(tenant, row) for row in rows]
    return found


def targets_of(session: Session, override_uids: Sequence[str]) -> dict[str, list[OverrideTargetRow]]:
    """What overrides are for, in the order given, by the override's uid."""
    found: dict[str, list[OverrideTargetRow]] = {uid: [] for uid in override_uids}
    query = (
        select(OverrideTargetRow)
        .where(col(OverrideTargetRow.override_uid).in_(list(override_uids)))
        .order_by(col(OverrideTargetRow.override_uid), col(OverrideTargetRow.position))
    )
    for row in session.exec(query):
        found[row.override_uid].append(row)
    return found


def get_plan(session: Session, group_uid: str, *, lock: bool = False) -> PlanRow | None:
    """The plan of a group; None where it has none."""
    query = select(PlanRow).where(PlanRow.group_uid == group_uid)
    return session.exec(query.with_for_update() if lock else query).first()


def put_plan(session: Session, group: GroupRow, plan: Plan, origin: str, now_ms: int) -> PlanRow:
    """Stores a group's plan in place of the one before."""
    values: dict[str, Any] = {
        "valid_from_ms": plan.valid_from_ms,
        "valid_until_ms": plan.valid_until_ms,
        "instants_ms": list(plan.instants_ms),
        "levels_permille": list(plan.levels_permille),
        "ramps_s": list(plan.ramps_s),
        "rules": [rule_to_document(rule) for rule in plan.rules],
        "hash": plan.hash,
        "origin": origin,
        "put_at_ms": now_ms,
    }
    row = get_plan(session, group.uid, lock=True)
    if row is None:
        row = PlanRow(group_uid=group.uid, municipality_uid=group.municipality_uid, **values)
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    bump(session, ORDERS)
    return row


def plan_hashes(session: Session, tenant: Tenant) -> list[tuple[str, str]]:
    """(group id, hash of its plan) of every group of a municipality, by id; empty where it has none."""
    groups = session.exec(
        select(GroupRow.id, GroupRow.uid)
        .where(GroupRow.municipality_uid == tenant.uid)
        .where(GroupRow.deleted_at_ms == 0)
        .order_by(col(GroupRow.id))
    ).all()
    hashes = dict(
        session.exec(select(PlanRow.group_uid, PlanRow.hash).where(PlanRow.municipality_uid == tenant.uid)).all()
    )
    return [(identifier, hashes.get(uid, "")) for identifier, uid in groups]


def _add(session: Session, tenant: Tenant, row: OverrideRow | LockoutRow | WaiverRow) -> None:
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyExists(order_name(tenant, row)) from error
    bump(session, ORDERS)
