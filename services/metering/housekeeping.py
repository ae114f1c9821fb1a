"""What has to be done now and then: the partitions of the months to come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from domain.errors import LichtbuchError
from servicekit.clock import Clock
from servicekit.database import Database
from services.metering.slot import to_ms
from services.metering.store.partitions import Partitions, months_ahead

_log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
WAIT_S: Final = 1.0


async def keep_partitions(
    database: Database, clock: Clock, beat: Callable[[], None], *, ready: Callable[[], bool] = lambda: True
) -> None:
    """Makes the partitions of this month and the next ones, for ever. Without the database it waits, and until it is
    `ready`: until it has its schema."""
    partitions = Partitions(database)
    while True:
        try:
            if ready():
                await partitions.ensure(months_ahead(to_ms(clock.now())))
        except LichtbuchError as error:
            _log.warning("the partitions of the months to come cannot be made: %s", error)
        beat()
        await clock.sleep_real(EVERY_S if ready() else WAIT_S)
