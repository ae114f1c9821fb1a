"""What a look of the waste watch makes of the findings on record: raised, extended, ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlmodel import Session

from domain.names import new_uid
from servicekit import audit
from servicekit.context import Tenant
from services.metering.slot import to_ms
from services.metering.store import findings as store
from services.metering.store.tables import FindingRow, MeterRow
from services.metering.store.waste import Look, Past
from services.metering.waste.findings import Change, Standing, State, cost_cents, judge, sentence
from services.metering.waste.watch import Rule, Waste

Made = list[tuple[Rule, Change]]
RAISE: Final = "metering.findings.raise"
END: Final = "metering.findings.end"
MOST_NAMED: Final = 20
"""Meters that the end of a finding names."""
_NO_COST = (Rule.SUM_CHECK, Rule.STOCK)
"""What is missing from a sum is not known to be wasted."""


def past_of(session: Session, meter_uid: str) -> Past:
    """What is on record about a meter."""
    return Past(
        {rule: row.start_ms for rule, row in store.standing(session, meter_uid).items()},
        {rule: to_ms(closed) for rule, closed in store.last_closed(session, meter_uid).items()},
    )


def settle(session: Session, tenant: Tenant, meter: MeterRow, looks: Sequence[Look], now: datetime) -> Made:
    """Writes what becomes of a meter's findings. Returns what was raised, extended or ended."""
    rows, past = store.standing(session, meter.uid), past_of(session, meter.uid)
    made: Made = []
    for look in looks:
        standing = Standing(past.since_ms.get(look.rule), past.closed_ms.get(look.rule))
        change = judge(standing, look.waste, is_known=look.is_known)
        row = rows.get(look.rule)
        if change is Change.RAISE and look.waste is not None:
            _raise(session, tenant, meter, look.waste, now)
        elif change is Change.EXTEND and row is not None and look.waste is not None:
            if not _extend(session, meter, row, look.waste):
                continue
        elif change is Change.END and row is not None:
            _end_or_hand_on(session, tenant, row, now, look.shown_at)
        else:
            continue
        made.append((look.rule, change))
    return made


def end(session: Session, tenant: Tenant, row: FindingRow, now: datetime, reason: str = "") -> None:
    """Ends a finding by itself."""
    row.state, row.closed_at = int(State.ENDED), now
    row.revision += 1
    store.save(session, row)
    audit.record(session, END, _name(tenant, row), row.uid, tenant.uid, after=_state(row), reason=reason)


def _end_or_hand_on(session: Session, tenant: Tenant, row: FindingRow, now: datetime, shown_at: Sequence[str]) -> None:
    """Ends a finding: it is over, or it shows at meters behind this one, which then have it."""
    if shown_at:
        row.detail = f"it shows at {', '.join(shown_at[:MOST_NAMED])} behind it"
    end(session, tenant, row, now, row.detail if shown_at else "")


def _raise(session: Session, tenant: Tenant, meter: MeterRow, waste: Waste, now: datetime) -> None:
    row = FindingRow(
        uid=new_uid(),
        municipality_uid=meter.municipality_uid,
        meter_uid=meter.uid,
        rule=waste.rule.value,
        start_ms=waste.start_ms,
        end_ms=waste.end_ms,
        excess_amount=waste.excess_amount,
        cost_cents=_cost(meter, waste),
        detail=sentence(waste, meter.unit),
        state=int(State.OPEN),
        coverage_permille=waste.coverage_permille,
        raised_at=now,
    )
    store.save(session, row)
    audit.record(session, RAISE, _name(tenant, row), row.uid, tenant.uid, after=_state(row))


def _extend(session: Session, meter: MeterRow, row: FindingRow, waste: Waste) -> bool:
    """The same finding, as it is now. False if nothing about it is new."""
    figures = {
        "start_ms": min(row.start_ms, waste.start_ms),
        "end_ms": max(row.end_ms, waste.end_ms),
        "excess_amount": waste.excess_amount,
        "cost_cents": _cost(meter, waste),
        "detail": sentence(waste, meter.unit),
        "coverage_permille": waste.coverage_permille,
    }
    if all(getattr(row, name) == value for name, value in figures.items()):
        return False
    for name, value in figures.items():
        setattr(row, name, value)
    row.revision += 1
    store.save(session, row)
    return True


def _cost(meter: MeterRow, waste: Waste) -> int:
    if waste.rule in _NO_COST:
        return 0
    return cost_cents(waste.excess_amount, meter.medium, meter.unit, meter.avoidable_price_micro_eur)


def _name(tenant: Tenant, row: FindingRow) -> str:
    return f"{tenant.name}/findings/{row.uid}"


def _state(row: FindingRow) -> dict[str, object]:
    return {
        "meter_uid": row.meter_uid,
        "rule": row.rule,
        "state": row.state,
        "excess_amount": row.excess_amount,
        "detail": row.detail,
    }
