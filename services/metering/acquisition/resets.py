"""Recording a reset that polling has confirmed: one register's life ends, another begins, the audit trail says why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from sqlmodel import Session

from domain.errors import FailedPrecondition, LichtbuchError
from servicekit import audit
from servicekit.clock import Clock
from servicekit.context import Caller, acting_as
from servicekit.database import Database
from servicekit.tenants import stored_ids
from services.metering.acquisition.target import Target
from services.metering.life import Exchange, Origin, RegisterLife
from services.metering.metrics import RESETS
from services.metering.slot import slot_text
from services.metering.store import lock
from services.metering.store.exchanges import exchange
from services.metering.store.feed import OURSELVES, Source
from services.metering.store.lives import lives_of
from services.metering.store.tables import MeterRow
from services.metering.validation.parameters import DEFAULTS, Parameters
from services.metering.vee import Reset

_log = logging.getLogger(__name__)

ACTION: Final = "metering.meters.reset"
PATIENCE_S: Final = 5.0


class Resets(Protocol):
    """Where confirmed resets are recorded."""

    async def record(self, target: Target, reset: Reset) -> bool:
        """Records it and puts the target on the new register. False if that cannot be done now."""
        ...


class StoredResets:
    """Records resets in the database."""

    def __init__(self, database: Database, clock: Clock, parameters: Parameters = DEFAULTS) -> None:
        """By `parameters` is judged what the new register has shown already."""
        self._database = database
        self._clock = clock
        self._parameters = parameters

    async def record(self, target: Target, reset: Reset) -> bool:
        """Records it; False while the database is away or where the register has been exchanged meanwhile."""
        try:
            with acting_as(Caller.of_service("metering"), action=ACTION):
                async with asyncio.timeout(PATIENCE_S):
                    begun = await self._database.run(lambda session: self._write(session, target, reset))
        except (LichtbuchError, TimeoutError) as error:
            _log.warning("the reset of %s is not recorded yet: %s", target.name, error)
            return False
        RESETS.inc()
        _log.warning("the register of %s began anew: %s", target.name, _reason(reset))
        target.life_key, target.life_uid = begun.key, begun.uid
        return True

    def _write(self, session: Session, target: Target, reset: Reset) -> RegisterLife:
        lock.to_change_registers(session)
        meter = session.get_one(MeterRow, target.meter_uid)
        lives = lives_of(session, [meter.uid])[meter.uid]
        if not any(life.key == target.life_key and life.removed_ms is None for life in lives):
            raise FailedPrecondition(f"another register hangs at {meter.meter_id} meanwhile")
        what = Exchange(reset.at_ms, reset.final_reading, reset.first_reading, Origin.RESET)
        source = Source("reset", OURSELVES, self._clock.now())
        ended, begun = exchange(session, meter, lives, what, source, self._parameters)
        meter.revision += 1
        session.add(meter)
        town = stored_ids(session).get(meter.municipality_uid, meter.municipality_uid)
        audit.record(
            session,
            ACTION,
            f"municipalities/{town}/meters/{meter.meter_id}",
            meter.uid,
            meter.municipality_uid,
            before=_state(ended),
            after=_state(begun),
            reason=_reason(reset),
        )
        return begun


def _state(life: RegisterLife) -> Mapping[str, Any]:
    return {
        "life": life.uid,
        "installed_ms": life.installed_ms,
        "removed_ms": life.removed_ms,
        "first_reading": life.first_reading,
        "final_reading": life.final_reading,
    }


def _reason(reset: Reset) -> str:
    return (
        f"the counter fell from {reset.final_reading} and went on below it; taken to have begun at "
        f"{reset.first_reading} about {slot_text(reset.at_ms)}"
    )
