"""Burning hours in the database, and what they come to for the drivers of luminaires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from services.lighting.burning import Burning
from services.lighting.records import CloBy
from services.lighting.store.burning_tables import BurningRow
from services.lighting.store.gears import LifeState, burnt_s, lives_of
from services.lighting.store.tables import LuminaireModelRow, LuminaireRow
from services.lighting.written_level import clo_permille, output_permille

_CHUNK = 5_000

Curve = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Ageing:
    """A luminaire whose light is kept constant, by Lichtbuch or by its driver."""

    uid: str
    municipality_uid: str
    installed_on: str
    initial_hours: int
    curve: Curve


@dataclass(frozen=True, slots=True)
class Driven:
    """What drivers are told for full light, the least that they can hold, and what they make of it by themselves."""

    curves: Mapping[str, Curve]
    """By uid of the model: of those whose light is kept constant."""
    by_driver: frozenset[str]
    """Models whose driver does so itself."""
    least_permille: Mapping[str, int]
    burning: Mapping[str, Burning]

    @classmethod
    def of(cls, session: Session) -> Driven:
        """As stored now, for all municipalities."""
        c = table_of(LuminaireModelRow).c
        rows = session.connection().execute(sa.select(c.uid, c.clo, c.clo_by, c.least_level_permille)).all()
        curves = {r[0]: r[1] for r in rows if r[2] != CloBy.UNSPECIFIED and r[1]}
        by_driver = frozenset(r[0] for r in rows if r[2] == CloBy.DRIVER)
        return cls(curves, by_driver, {r[0]: r[3] for r in rows}, burning_of_all(session) if curves else {})

    def by(
        self, uid: str, model_uid: str, virtual_output_permille: int, initial_hours: int
    ) -> tuple[int, int, bool, int]:
        """Of a luminaire: the command for full light, the least command, whether its burning hours matter, and what its
        driver makes of a command."""
        curve = self.curves.get(model_uid, ())
        clo = clo_permille(curve, self.burning.get(uid, Burning()).hours(initial_hours)) if curve else 1000
        told, inner = (1000, clo) if model_uid in self.by_driver else (clo, 1000)
        least = self.least_permille.get(model_uid, 0)
        return output_permille(virtual_output_permille, told), least, bool(curve), inner


def burning_of_all(session: Session) -> dict[str, Burning]:
    """What is known of light sources, by uid of the luminaire."""
    c = table_of(BurningRow).c
    query = sa.select(
        c.luminaire_uid, c.counted_s, c.counted_until_ms, c.installed_on, c.reported_s, c.reported_before_s
    )
    return {r[0]: Burning(r[1], r[2], r[3], r[4], r[5]) for r in session.connection().execute(query)}


def ageing_luminaires(session: Session) -> list[Ageing]:
    """Luminaires whose light is kept constant, by uid."""
    curves = Driven.of(session).curves
    c = table_of(LuminaireRow).c
    found: list[Ageing] = []
    for model_uid, curve in curves.items():
        query = sa.select(c.uid, c.municipality_uid, c.installed_on, c.initial_burning_hours)
        for r in session.connection().execute(query.where(c.model_uid == model_uid).where(c.deleted_at_ms == 0)):
            found.append(Ageing(r[0], r[1], r[2], r[3], curve))
    return sorted(found, key=lambda one: one.uid)


def reported_by_gear(session: Session, uids: Sequence[str]) -> dict[str, int]:
    """Seconds that luminaires burned by what their drivers say, by uid: the counter that the first one came with, and
    what each has counted here."""
    found: dict[str, int] = {}
    for uid, lives in lives_of(session, uids).items():
        known = [(row.first_s, burnt_s(row)) for row in lives if row.state != LifeState.REJECTED]
        told = [(first_s, here_s) for first_s, here_s in known if first_s is not None and here_s is not None]
        if told:
            found[uid] = told[0][0] + sum(here_s for _, here_s in told)
    return found


def keep_burning(session: Session, burning: Mapping[str, Burning]) -> None:
    """Stores what is known now of light sources, by uid of the luminaire."""
    uids = sorted(burning)
    for at in range(0, len(uids), _CHUNK):
        part = uids[at : at + _CHUNK]
        rows = {
            row.luminaire_uid: row
            for row in session.exec(select(BurningRow).where(col(BurningRow.luminaire_uid).in_(part)))
        }
        for uid in part:
            row, known = rows.get(uid) or BurningRow(luminaire_uid=uid), burning[uid]
            row.counted_s, row.counted_until_ms = known.counted_s, known.counted_until_ms
            row.installed_on = known.installed_on
            row.reported_s, row.reported_before_s = known.reported_s, known.reported_before_s
            session.add(row)
        session.flush()
