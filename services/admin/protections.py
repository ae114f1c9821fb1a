"""Lamps of which it is not assured that they light up by themselves, out of the services' messages. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lichtbuch.lighting.v1 import commissioning_pb2


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A lamp. Levels in per mille; None where nobody asked, or none was read; -1 reads "as before"."""

    luminaire: str
    gateway: str
    state: int
    """A ProtectionState of the contract."""
    power_on: int | None = None
    read_power_on: int | None = None
    loss: int | None = None
    read_loss: int | None = None


def unprotected_from_proto(message: commissioning_pb2.LuminaireProtection) -> Unprotected:
    """A lamp."""

    def level(field: str) -> int | None:
        return getattr(message, field) if message.HasField(field) else None  # type: ignore[arg-type]

    return Unprotected(
        luminaire=message.luminaire,
        gateway=message.gateway,
        state=int(message.state),
        power_on=level("power_on_permille"),
        read_power_on=level("read_power_on_permille"),
        loss=level("communication_loss_permille"),
        read_loss=level("read_communication_loss_permille"),
    )


def by_state(lamps: Iterable[Unprotected]) -> dict[int, int]:
    """How many lamps stand how, the most frequent first."""
    return dict(Counter(lamp.state for lamp in lamps).most_common())
