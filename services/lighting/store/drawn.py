"""What luminaires drew over a period, from versions of the inventory: model, power and cabinet as they were then."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.energy import Drawn, DrawnSince, Timeline, drawn_by
from services.lighting.store.tables import FeederRow, GatewayRow, LuminaireModelRow, LuminaireRow
from services.lighting.store.versions import Version, versions_between

Versions = Mapping[str, list[Version]]


@dataclass(frozen=True, slots=True)
class LampOfPeriod:
    """A luminaire that was there for some of a period, and what it drew over time."""

    uid: str
    id: str
    drawn: Drawn | Timeline

    @property
    def estimated(self) -> bool:
        """Whether its model or power was not known for some of the period."""
        if isinstance(self.drawn, Drawn):
            return self.drawn.estimated
        return any(since.drawn is not None and since.drawn.estimated for since in self.drawn)


def lamps_of_period(
    session: Session,
    tenant: Tenant,
    cabinet_uids: Sequence[str],
    start_ms: int,
    end_ms: int,
    luminaire_uids: Sequence[str] = (),
) -> list[LampOfPeriod]:
    """Luminaires that were there in [start, end), by id; with cabinets only the time that they hung on one of them.

    luminaire_uids: only these, empty for all.
    """

    def read(table: Any, *uids: str) -> Versions:
        return versions_between(session, table, tenant.uid, start_ms, end_ms, uids)

    lamps, models = read(LuminaireRow, *luminaire_uids), read(LuminaireModelRow)
    feeders, gateways = (read(FeederRow), read(GatewayRow)) if cabinet_uids else ({}, {})
    work = _Work(models, feeders, gateways, frozenset(cabinet_uids))
    found = []
    for uid, versions in lamps.items():
        drawn = work.of(versions, start_ms, end_ms)
        if drawn is not None:
            found.append((uid, drawn))
    ids = _ids(session, tenant)
    return sorted((LampOfPeriod(uid, ids[uid], drawn) for uid, drawn in found), key=lambda lamp: (lamp.id, lamp.uid))


def drawn_at(session: Session, tenant: Tenant, at_ms: int) -> dict[str, Drawn]:
    """What each luminaire draws at which level at an instant, by uid."""
    found = {}
    for lamp in lamps_of_period(session, tenant, (), at_ms, at_ms + 1):
        drawn = lamp.drawn if isinstance(lamp.drawn, Drawn) else lamp.drawn[-1].drawn
        if drawn is not None:
            found[lamp.uid] = drawn
    return found


class _Work:
    """One period being put together; equal curves are made once."""

    def __init__(self, models: Versions, feeders: Versions, gateways: Versions, cabinets: frozenset[str]) -> None:
        self._models, self._feeders, self._gateways, self._cabinets = models, feeders, gateways, cabinets
        self._made: dict[tuple[object, ...], Drawn] = {}

    def of(self, versions: Sequence[Version], start_ms: int, end_ms: int) -> Drawn | Timeline | None:
        """What one luminaire drew; one curve where nothing changed, None where it was not there at all."""
        timeline: list[DrawnSince] = []
        for version, until_ms in zip(versions, [*(v.from_ms for v in versions[1:]), end_ms], strict=True):
            if version.deleted:
                self._add(timeline, version.from_ms, None)
                continue
            state = version.state
            others = [self._models.get(state.get("model_uid") or "")]
            if self._cabinets:
                others += [self._feeders.get(state.get("feeder_uid") or "")]
                others += [self._gateways.get(state.get("gateway_uid") or "")]
            # What it refers to changes too while it stays the same.
            instants = {v.from_ms for other in others if other for v in other if version.from_ms < v.from_ms < until_ms}
            for at_ms in (version.from_ms, *sorted(instants)):
                self._add(timeline, at_ms, self._drawn(state, max(at_ms, start_ms)))
        if not any(since.drawn for since in timeline):
            return None
        first = timeline[0]
        if len(timeline) == 1 and first.from_ms <= start_ms and first.drawn is not None:
            return first.drawn
        return tuple(timeline)

    @staticmethod
    def _add(timeline: list[DrawnSince], from_ms: int, drawn: Drawn | None) -> None:
        if timeline and timeline[-1].from_ms == from_ms:
            timeline.pop()
        if not timeline or timeline[-1].drawn != drawn:
            timeline.append(DrawnSince(from_ms, drawn))

    def _drawn(self, lamp: Mapping[str, Any], at_ms: int) -> Drawn | None:
        if self._cabinets and self._cabinet(lamp, at_ms) not in self._cabinets:
            return None
        model = _at(self._models, lamp.get("model_uid"), at_ms)
        curve = tuple((level, power) for level, power in model.get("curve", ()))
        key = (
            model.get("rated_power_w", 0.0),
            model.get("standby_power_w", 0.0),
            curve,
            lamp.get("installed_power_w", 0.0),
        )
        if key not in self._made:
            self._made[key] = drawn_by(
                rated_power_w=key[0], standby_power_w=key[1], curve=curve, installed_power_w=key[3]
            )
        return self._made[key]

    def _cabinet(self, lamp: Mapping[str, Any], at_ms: int) -> str:
        if lamp.get("feeder_uid"):
            return str(_at(self._feeders, lamp["feeder_uid"], at_ms).get("cabinet_uid", ""))
        return str(_at(self._gateways, lamp.get("gateway_uid"), at_ms).get("cabinet_uid", ""))


def _at(versions: Versions, uid: str | None, at_ms: int) -> Mapping[str, Any]:
    """Values of a resource at an instant; empty for none, and for what was not there."""
    known = versions.get(uid or "", ())
    index = bisect_right([version.from_ms for version in known], at_ms) - 1
    return known[index].state if index >= 0 else {}


def _ids(session: Session, tenant: Tenant) -> dict[str, str]:
    c = table_of(LuminaireRow).c
    query = sa.select(c.uid, c.id).where(c.municipality_uid == tenant.uid)
    return {row[0]: row[1] for row in session.connection().execute(query)}
