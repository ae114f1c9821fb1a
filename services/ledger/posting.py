"""The posting loop: posts each finished lighting night or local day of the measures that ask for it, once.

It keeps no state: what is due follows from the measures and the entries that are there, so after any outage the next
pass is right, and two replicas that both run it post every period once. What a person has reversed it leaves alone:
posting anew is theirs to decide. Periods older than `HORIZON` are theirs, too.
"""

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from domain.errors import Corrupted, LichtbuchError, RetryableError
from domain.names import ResourceName
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.convert import timestamp_to_proto
from servicekit.tenants import TenantDirectory
from services.ledger.book import Book, NotYet
from services.ledger.metrics import PERIODS_WAITING
from services.ledger.period import periods_due
from services.ledger.store.entries import posted_periods
from services.ledger.store.measures import StoredMeasure, measures_to_post, terms_of

GRACE: Final = timedelta(minutes=30)
"""Domain time between the end of a period and its posting: the last readings come in."""
HORIZON: Final = timedelta(days=40)
PASS_EVERY_S: Final = 300.0
"""Domain seconds between two passes."""
TRY_AGAIN: Final = timedelta(minutes=15)
"""Domain time until a period that waits for readings is looked at again: they come by the quarter hour."""
TRY_ANYWAY: Final = timedelta(hours=6)
"""Domain time until a period that cannot be posted is tried again: somebody may have mended it."""
LEAST_PAUSE_S: Final = 1.0
"""Real seconds between two passes, however fast the domain's time runs."""
MAX_SILENCE_S: Final = 1800.0
"""Real seconds after which the loop counts as stuck."""

_log = logging.getLogger(__name__)


class PostingLoop:
    """Posts what is due, pass by pass."""

    def __init__(
        self, book: Book, tenants: TenantDirectory, clock: Clock, *, pass_every_s: float = PASS_EVERY_S
    ) -> None:
        """pass_every_s: domain seconds between two passes."""
        self._book, self._tenants, self._clock = book, tenants, clock
        self._pass_every_s = pass_every_s
        self._quiet_until: dict[str, datetime] = {}
        """Per measure when its next period is due; nothing can be due before."""
        self._not_before: dict[tuple[str, datetime], datetime] = {}
        self._told: set[tuple[str, datetime, str]] = set()

    async def run(self, beat: Callable[[], None]) -> None:
        """Runs for ever, calling `beat` after each pass."""
        while True:
            await self.run_once(beat)
            beat()
            speed = self._clock.speed
            least_s = LEAST_PAUSE_S * speed if math.isfinite(speed) else 0.0
            await self._clock.sleep(max(self._pass_every_s, least_s))

    async def run_once(self, beat: Callable[[], None] = lambda: None) -> int:
        """One pass over all municipalities. Answers how many entries it posted.

        One that cannot be posted holds up no other. Raises what is retryable only if nothing could be looked at at all.
        """
        posted, waiting = 0, 0
        for tenant in await self._tenants.all():
            for measure in await self._measures(tenant):
                done, left = await self._post_due(tenant, measure)
                posted, waiting = posted + done, waiting + left
                beat()
        PERIODS_WAITING.set(waiting)
        return posted

    async def _measures(self, tenant: Tenant) -> list[StoredMeasure]:
        return list(await self._book.database.read(lambda session: measures_to_post(session, tenant.uid)))

    async def _post_due(self, tenant: Tenant, measure: StoredMeasure) -> tuple[int, int]:
        """Posts what is due of a measure. Answers how many periods it posted and how many are left."""
        posted, now = 0, self._clock.now()
        if now < self._quiet_until.get(measure.uid, now):
            return 0, 0
        name = ResourceName.of(tenant.id, "measures", measure.measure_id)
        try:
            due, following = await self._book.database.read(lambda session: self._due(session, measure, now))
        except Corrupted as error:
            _log.error("%s cannot be posted: %s", name, error)
            return 0, 1
        if not due:
            self._quiet_until[measure.uid] = following
        for start, end in due:
            key = (measure.uid, start)
            if now < self._not_before.get(key, now):
                continue
            request = pb.PostEntryRequest(
                parent=str(name), start_time=timestamp_to_proto(start), end_time=timestamp_to_proto(end)
            )
            try:
                await self._book.post(name, start, end, tenant, request)
                posted += 1
                self._not_before.pop(key, None)
            except NotYet as error:
                self._not_before[key] = now + TRY_AGAIN
                _log.debug("%s from %s is not due yet: %s", name, start, error)
            except RetryableError as error:
                _log.warning("%s from %s could not be posted for now: %s", name, start, error)
                return posted, len(due) - posted
            except LichtbuchError as error:
                self._not_before[key] = now + TRY_ANYWAY
                self._tell_once(name, measure, start, error)
        return posted, len(due) - posted

    @staticmethod
    def _due(
        session: Session, measure: StoredMeasure, now: datetime
    ) -> tuple[list[tuple[datetime, datetime]], datetime]:
        """Periods that have ended, are not too old, and share no time with a saving that is or was posted.

        And when the next one will be due.
        """
        terms = terms_of(session, measure)
        since = max(now - HORIZON, measure.created_at)
        periods = list(periods_due(terms, since, now - GRACE))
        coming = next(periods_due(terms, max(now - GRACE, terms.effective_from), _far(now, terms.effective_from)))
        following = coming[1] + GRACE
        if not periods:
            return [], following
        taken = posted_periods(session, measure.uid, periods[0][0])
        return [(a, b) for a, b in periods if not any(start < b and a < end for start, end in taken)], following

    def _tell_once(self, name: ResourceName, measure: StoredMeasure, start: datetime, error: LichtbuchError) -> None:
        """Says what will not go away by itself once, not every five minutes."""
        told = (measure.uid, start, error.code)
        if told not in self._told:
            self._told.add(told)
            _log.error("%s from %s cannot be posted: %s", name, start.isoformat(), error)


def _far(now: datetime, effective_from: datetime) -> datetime:
    """An instant before which a whole period ends in any case."""
    return max(now, effective_from) + timedelta(days=3)
