"""Role bindings: stored, removed, found by person and by municipality."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from domain.errors import AlreadyExists, FailedPrecondition, NotFound
from domain.names import WILDCARD
from servicekit.access import Role
from services.registry.roles import RoleBinding
from services.registry.store.tables import MunicipalityRow, RoleBindingRow


def add_binding(session: Session, binding: RoleBinding, created_at: datetime) -> None:
    """Stores a new binding. Raises AlreadyExists if the person holds the same one already."""
    for held in bindings_of(session, binding.subject, created_at):
        if _terms(held) == _terms(binding):
            raise AlreadyExists(f"municipalities/{held.municipality_id}/roleBindings/{held.uid}")
    session.add(
        RoleBindingRow(
            uid=binding.uid,
            municipality_uid=binding.municipality_uid or None,
            subject=binding.subject,
            role=binding.role.value,
            scopes=list(binding.scopes),
            expires_at=binding.expires_at,
            created_at=created_at,
        )
    )
    session.flush()


def remove_binding(session: Session, municipality_uid: str, uid: str) -> RoleBinding:
    """Removes a binding of a municipality ("" for those of every one) and returns it.

    Raises NotFound, and FailedPrecondition for the last lasting administrator of everything: nobody could undo it.
    """
    row = session.get(RoleBindingRow, uid, with_for_update=True)
    if row is None or (row.municipality_uid or "") != municipality_uid:
        raise NotFound(f"roleBindings/{uid}", "the role binding does not exist")
    binding = _binding(row, _id_of(session, row))
    if _administers_everything(binding) and not _other_administrators(session, binding):
        raise FailedPrecondition.of("name", "nobody else administers every municipality without an end")
    session.delete(row)
    session.flush()
    return binding


def bindings_of(session: Session, subject: str, now: datetime) -> Sequence[RoleBinding]:
    """What a person holds at an instant (real time)."""
    query = _with_ids().where(RoleBindingRow.subject == subject).order_by(col(RoleBindingRow.uid))
    query = query.where(or_(col(RoleBindingRow.expires_at).is_(None), col(RoleBindingRow.expires_at) > now))
    return [_binding(row, identifier) for row, identifier in session.exec(query)]


def list_bindings(
    session: Session,
    municipality_uids: Collection[str],
    *,
    of_every_one: bool,
    after_uid: str | None = None,
    limit: int | None = None,
) -> Sequence[RoleBinding]:
    """Bindings of municipalities in the order they were made, ended ones too; `of_every_one` adds those of "-"."""
    wanted: ColumnElement[bool] = col(RoleBindingRow.municipality_uid).in_(municipality_uids)
    if of_every_one:
        wanted = or_(wanted, col(RoleBindingRow.municipality_uid).is_(None))
    query = _with_ids().where(wanted).order_by(col(RoleBindingRow.uid))
    if after_uid is not None:
        query = query.where(col(RoleBindingRow.uid) > after_uid)
    if limit is not None:
        query = query.limit(limit)
    return [_binding(row, identifier) for row, identifier in session.exec(query)]


def has_bindings(session: Session) -> bool:
    """True if any binding is stored, ended ones included: the registry is in use."""
    return session.exec(select(RoleBindingRow.uid).limit(1)).first() is not None


def _with_ids() -> Select[RoleBindingRow, str]:
    """Bindings with today's alias of their municipality; None for those of every one."""
    return select(RoleBindingRow, MunicipalityRow.id).join(
        MunicipalityRow, col(MunicipalityRow.uid) == col(RoleBindingRow.municipality_uid), isouter=True
    )


def _id_of(session: Session, row: RoleBindingRow) -> str | None:
    if row.municipality_uid is None:
        return None
    return session.exec(select(MunicipalityRow.id).where(MunicipalityRow.uid == row.municipality_uid)).first()


def _administers_everything(binding: RoleBinding) -> bool:
    return not binding.municipality_uid and binding.role is Role.ADMIN and binding.expires_at is None


def _other_administrators(session: Session, binding: RoleBinding) -> int:
    query = (
        select(RoleBindingRow.uid)
        .where(col(RoleBindingRow.municipality_uid).is_(None))
        .where(RoleBindingRow.role == Role.ADMIN.value)
        .where(col(RoleBindingRow.expires_at).is_(None))
        .where(RoleBindingRow.uid != binding.uid)
        # Locked, so that the last two administrators cannot remove each other at once.
        .with_for_update()
    )
    return len(session.exec(query).all())


def _terms(binding: RoleBinding) -> tuple[object, ...]:
    return binding.municipality_uid, binding.role, binding.scopes, binding.expires_at


def _binding(row: RoleBindingRow, municipality_id: str | None) -> RoleBinding:
    return RoleBinding(
        uid=row.uid,
        municipality_uid=row.municipality_uid or "",
        municipality_id=municipality_id or WILDCARD,
        subject=row.subject,
        role=Role(row.role),
        scopes=tuple(row.scopes),
        expires_at=row.expires_at,
    )
