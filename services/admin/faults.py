"""Faults as the page shows them: out of the services' messages, and ordered into a list of work by street. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from lichtbuch.lighting.v1 import faults_pb2
from services.admin.figures import id_of, instant


@dataclass(frozen=True, slots=True)
class FaultNow:
    """A fault that stands."""

    name: str
    kind: int
    """A FaultKind of the contract."""
    subject: str
    street: str
    pole: str
    cabinet: str
    raised_at: datetime
    acknowledged_by: str
    acknowledged_at: datetime | None
    note: str
    measured: float | None
    expected: float | None
    by_hand: bool
    text: str

    @property
    def is_new(self) -> bool:
        """Nobody has acknowledged it."""
        return self.acknowledged_at is None

    @property
    def collection(self) -> str:
        """What it is on: luminaires, feeders, cabinets or gateways."""
        parts = self.subject.split("/")
        return parts[-2] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class StreetWork:
    """The faults of a street, in the order of its poles."""

    street: str
    faults: tuple[FaultNow, ...]


def fault_from_proto(message: faults_pb2.Fault) -> FaultNow:
    """A fault."""
    return FaultNow(
        name=message.name,
        kind=int(message.kind),
        subject=message.subject,
        street=message.street,
        pole=message.pole,
        cabinet=message.cabinet,
        raised_at=instant(message.raised_at),
        acknowledged_by=message.acknowledged_by,
        acknowledged_at=instant(message.acknowledged_at) if message.HasField("acknowledged_at") else None,
        note=message.acknowledgement_note,
        measured=message.measured_value if message.HasField("measured_value") else None,
        expected=message.expected_value if message.HasField("expected_value") else None,
        by_hand=message.by_hand,
        text=message.text,
    )


def work_of(
    faults: Iterable[FaultNow], *, text: str = "", kind: int = 0, new_only: bool = False
) -> tuple[StreetWork, ...]:
    """What is to be done, street by street, in the order that the server gave.

    text: only of streets, poles, lamps or cabinets that hold it. kind: only these; 0 for all.
    """
    wanted = text.strip().casefold()
    left = [
        fault
        for fault in faults
        if (not kind or fault.kind == kind) and (not new_only or fault.is_new) and _holds(fault, wanted)
    ]
    return tuple(StreetWork(street, tuple(group)) for street, group in groupby(left, key=lambda fault: fault.street))


def _holds(fault: FaultNow, wanted: str) -> bool:
    places = (fault.street, fault.pole, id_of(fault.subject), id_of(fault.cabinet))
    return not wanted or any(wanted in place.casefold() for place in places)
