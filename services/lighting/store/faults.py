"""The book of faults in the database: what was detected goes in once, what people say stands beside it.

Detection and people write different columns, so neither loses what the other said. Not here: when a fault is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col, or_, select

from domain.errors import NotFound
from domain.level import PowerCurve
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.energy import drawn_by
from services.lighting.fault_kinds import FaultEnd, FaultEntry, FaultKind, SubjectKind
from services.lighting.fault_route import route_of
from services.lighting.store.inventory import After
from services.lighting.store.tables import (
    CabinetRow,
    FaultRow,
    FeederRow,
    GatewayRow,
    LuminaireModelRow,
    LuminaireRow,
)

COLLECTION: Final = "faults"
_CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where the subject of a fault is, for people who drive there."""

    identifier: str = ""
    street: str = ""
    pole: str = ""
    cabinet_uid: str | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None

    @property
    def route(self) -> str:
        """What it sorts by."""
        return route_of(self.street, self.pole, self.identifier)


@dataclass(frozen=True, slots=True)
class FaultFilter:
    """Which faults are listed; what is empty, None or 0 does not limit. Instants in Unix ms."""

    open_only: bool = False
    unacknowledged_only: bool = False
    street: str = ""
    cabinet_uid: str = ""
    subject_uid: str = ""
    kinds: tuple[int, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None

    def conditions(self) -> list[Any]:
        """As conditions of a query."""
        cleared, raised = col(FaultRow.cleared_ms), col(FaultRow.raised_ms)
        found: list[Any] = []
        if self.open_only:
            found.append(cleared == 0)
        if self.unacknowledged_only:
            found.append(FaultRow.acknowledged_ms == 0)
        if self.street:
            found.append(FaultRow.street == self.street)
        if self.cabinet_uid:
            found.append(FaultRow.cabinet_uid == self.cabinet_uid)
        if self.subject_uid:
            found.append(FaultRow.subject_uid == self.subject_uid)
        if self.kinds:
            found.append(col(FaultRow.kind).in_(self.kinds))
        if self.start_ms is not None:
            found.append(or_(cleared == 0, cleared >= self.start_ms))
        if self.end_ms is not None:
            found.append(raised < self.end_ms)
        return found


# --- what detection says --------------------------------------------------------------------------------------------


def book(session: Session, entries: Sequence[FaultEntry]) -> dict[str, FaultEntry]:
    """Stores what was detected. The same again changes nothing, and what stands is not raised again.

    Returns what is booked under another uid than it was handed in with, by the latter: another process had raised it.
    """
    known = {row.uid: row for row in _rows(session, col(FaultRow.uid), [e.uid for e in entries])}
    missing = [entry for entry in entries if entry.uid not in known]
    stands = (col(FaultRow.cleared_ms) == 0, col(FaultRow.by_hand).is_(False))
    subjects = sorted({entry.subject_uid for entry in missing})
    standing = {
        (row.kind, row.subject_uid): row for row in _rows(session, col(FaultRow.subject_uid), subjects, where=stands)
    }
    places = _places(session, missing)
    renamed: dict[str, FaultEntry] = {}
    for entry in entries:
        row = known.get(entry.uid)
        if row is None and (found := standing.get((entry.kind, entry.subject_uid))) is not None:
            row = found
            renamed[entry.uid] = entry_of(row)
        if row is None:
            row = _new_row(entry, places.get((entry.subject_kind, entry.subject_uid), Place()))
            if not entry.cleared_ms:
                standing[(row.kind, row.subject_uid)] = row
        elif row.cleared_ms:
            continue  # it has ended already: what is told late does not bring it back
        row.last_seen_ms = max(row.last_seen_ms, entry.last_seen_ms)
        row.measured, row.expected = _number(entry.measured), _number(entry.expected)
        row.cleared_ms, row.end_reason = entry.cleared_ms, int(entry.end)
        session.add(row)
        if entry.cleared_ms:
            standing.pop((row.kind, row.subject_uid), None)
            # What ended must have ended before the next one of its kind is raised on the same subject.
            session.flush()
    session.flush()
    return renamed


def standing_faults(session: Session) -> list[FaultEntry]:
    """What was detected and stands, in all municipalities."""
    query = select(FaultRow).where(FaultRow.cleared_ms == 0).where(col(FaultRow.by_hand).is_(False))
    return [entry_of(row) for row in session.exec(query.order_by(col(FaultRow.uid)))]


def standing_counts(session: Session) -> dict[FaultKind, tuple[int, int]]:
    """How many stand, and how many of these nobody has acknowledged, by kind; those reported by hand too."""
    table = table_of(FaultRow)
    unknown_to_all = sa.func.sum(sa.case((table.c.acknowledged_ms == 0, 1), else_=0))
    query = sa.select(table.c.kind, sa.func.count(), unknown_to_all).where(table.c.cleared_ms == 0)
    rows = session.connection().execute(query.group_by(table.c.kind))
    return {FaultKind(row[0]): (int(row[1]), int(row[2])) for row in rows}


def power_curves(session: Session) -> dict[str, PowerCurve]:
    """Power over level of luminaires by uid; those are left out of whose power or curve nobody knows."""
    models = {model.uid: model for model in session.exec(select(LuminaireModelRow))}
    table = table_of(LuminaireRow)
    query = sa.select(table.c.uid, table.c.model_uid, table.c.installed_power_w).where(table.c.deleted_at_ms == 0)
    made: dict[tuple[str, float], PowerCurve | None] = {}
    found: dict[str, PowerCurve] = {}
    for uid, model_uid, installed_w in session.connection().execute(query):
        model = models.get(model_uid or "")
        if model is None:
            continue
        key = (model.uid, installed_w)
        if key not in made:
            drawn = drawn_by(
                rated_power_w=model.rated_power_w,
                standby_power_w=model.standby_power_w,
                curve=[(level, power) for level, power in model.curve],
                installed_power_w=installed_w,
            )
            made[key] = None if drawn.estimated else drawn.curve
        if (curve := made[key]) is not None:
            found[uid] = curve
    return found


def entry_of(row: FaultRow) -> FaultEntry:
    """A row as detection knows it."""
    return FaultEntry(
        row.uid,
        row.municipality_uid,
        FaultKind(row.kind),
        SubjectKind(row.subject_kind),
        row.subject_uid,
        row.raised_ms,
        row.last_seen_ms,
        nan if row.measured is None else row.measured,
        nan if row.expected is None else row.expected,
        row.cleared_ms,
        FaultEnd(row.end_reason),
    )


# --- what people say ------------------------------------------------------------------------------------------------


def report(
    session: Session, tenant: Tenant, subject: SubjectKind, row: Any, text: str, author: str, uid: str, now_ms: int
) -> FaultRow:
    """Stores what a person reported on a luminaire, feeder, cabinet or gateway."""
    place = _place_of(subject, row, _cabinets(session, subject, [row]))
    made = FaultRow(
        uid=uid,
        municipality_uid=tenant.uid,
        id=uid,
        kind=int(FaultKind.REPORTED),
        subject_kind=int(subject),
        subject_uid=row.uid,
        raised_ms=now_ms,
        last_seen_ms=now_ms,
        by_hand=True,
        report=text,
        reported_by=author,
        **_columns(place),
    )
    session.add(made)
    session.flush()
    return made


def get_fault(session: Session, tenant: Tenant, identifier: str, *, lock: bool = False) -> FaultRow:
    """A fault by the last part of its name. Raises NotFound."""
    query = select(FaultRow).where(FaultRow.municipality_uid == tenant.uid).where(FaultRow.id == identifier)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"{tenant.name}/{COLLECTION}/{identifier}")
    return row


def list_faults(
    session: Session,
    tenants: Sequence[Tenant],
    after: After,
    limit: int,
    where: Callable[[Tenant], Sequence[Any]],
) -> list[tuple[Tenant, FaultRow]]:
    """Faults by municipality, then as a fitter drives. `after`: (municipality id, route, uid) of the last one seen."""
    found: list[tuple[Tenant, FaultRow]] = []
    for tenant in sorted(tenants, key=lambda t: t.id):
        if len(found) >= limit:
            break
        if after is not None and tenant.id < str(after[0]):
            continue
        query = select(FaultRow).where(FaultRow.municipality_uid == tenant.uid).where(*where(tenant))
        route, uid = col(FaultRow.route), col(FaultRow.uid)
        if after is not None and tenant.id == after[0]:
            query = query.where(or_(route > str(after[1]), (route == str(after[1])) & (uid > str(after[2]))))
        found += [(tenant, row) for row in session.exec(query.order_by(route, uid).limit(limit - len(found)))]
    return found


# --- where things are -----------------------------------------------------------------------------------------------

_TABLES: Final[dict[SubjectKind, type[Any]]] = {
    SubjectKind.LUMINAIRE: LuminaireRow,
    SubjectKind.FEEDER: FeederRow,
    SubjectKind.CABINET: CabinetRow,
    SubjectKind.GATEWAY: GatewayRow,
}


def _places(session: Session, entries: Iterable[FaultEntry]) -> dict[tuple[SubjectKind, str], Place]:
    wanted: dict[SubjectKind, list[str]] = {}
    for entry in entries:
        wanted.setdefault(entry.subject_kind, []).append(entry.subject_uid)
    found: dict[tuple[SubjectKind, str], Place] = {}
    for kind, uids in wanted.items():
        rows = _rows(session, _TABLES[kind].uid, uids, _TABLES[kind])
        cabinets = _cabinets(session, kind, rows)
        found.update({(kind, row.uid): _place_of(kind, row, cabinets) for row in rows})
    return found


def _cabinets(session: Session, kind: SubjectKind, rows: Sequence[Any]) -> dict[str, CabinetRow]:
    """The cabinets of feeders, gateways or luminaires, by the uid of what refers to them; a cabinet's is itself."""
    if kind == SubjectKind.CABINET:
        return {row.uid: row for row in rows}
    if kind == SubjectKind.LUMINAIRE:
        feeders = _rows(session, col(FeederRow.uid), sorted({r.feeder_uid for r in rows if r.feeder_uid}), FeederRow)
        gateways = _rows(
            session, col(GatewayRow.uid), sorted({r.gateway_uid for r in rows if r.gateway_uid}), GatewayRow
        )
        via = {r.uid: r.cabinet_uid for r in (*feeders, *gateways)}
        of_row = {r.uid: via.get(r.feeder_uid or r.gateway_uid or "", "") for r in rows}
    else:
        of_row = {row.uid: row.cabinet_uid for row in rows}
    cabinets = {
        cabinet.uid: cabinet
        for cabinet in _rows(session, col(CabinetRow.uid), sorted(set(of_row.values()) - {""}), CabinetRow)
    }
    return {uid: cabinets[cabinet_uid] for uid, cabinet_uid in of_row.items() if cabinet_uid in cabinets}


def _place_of(kind: SubjectKind, row: Any, cabinets: dict[str, CabinetRow]) -> Place:
    cabinet = cabinets.get(row.uid)
    own = row if kind in (SubjectKind.LUMINAIRE, SubjectKind.CABINET) else cabinet
    placed = own if own is not None and own.latitude_deg is not None else cabinet
    return Place(
        identifier=row.id,
        street=own.street if own is not None else "",
        pole=row.pole if kind == SubjectKind.LUMINAIRE else "",
        cabinet_uid=None if cabinet is None else cabinet.uid,
        latitude_deg=None if placed is None else placed.latitude_deg,
        longitude_deg=None if placed is None else placed.longitude_deg,
    )


def _new_row(entry: FaultEntry, place: Place) -> FaultRow:
    return FaultRow(
        uid=entry.uid,
        municipality_uid=entry.municipality_uid,
        id=entry.uid,
        kind=int(entry.kind),
        subject_kind=int(entry.subject_kind),
        subject_uid=entry.subject_uid,
        raised_ms=entry.raised_ms,
        last_seen_ms=entry.last_seen_ms,
        **_columns(place),
    )


def _columns(place: Place) -> dict[str, Any]:
    return {
        "cabinet_uid": place.cabinet_uid,
        "street": place.street,
        "pole": place.pole,
        "route": place.route,
        "latitude_deg": place.latitude_deg,
        "longitude_deg": place.longitude_deg,
    }


def _rows(
    session: Session, column: Any, values: Sequence[str], table: type[Any] = FaultRow, where: Sequence[Any] = ()
) -> list[Any]:
    found: list[Any] = []
    for at in range(0, len(values), _CHUNK):
        query = select(table).where(column.in_(list(values[at : at + _CHUNK]))).where(*where)
        found += session.exec(query)
    return found


def _number(value: float) -> float | None:
    return None if isnan(value) else value
