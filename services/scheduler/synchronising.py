"""Keeping lighting's plans equal to what the calendars say: each domain minute, and at once when somebody changes one.

A pass compares hashes and puts what differs. Nothing rests on an event: a lost message, a restored database, a restart
on either side are all the same difference to the next pass. It keeps no state that matters, so several replicas may run
at once: they compile the same and put the same. While lighting is away nothing is lost: it holds its plans for days.

What lighting refused is put again when the plan, the group or the municipality's waivers are others, not before.
A group without an assignment is not looked at. Where it had one, the plan that lighting holds runs out by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from domain.canonical import canonical_hash
from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, NotFound, RetryableError
from domain.plan import Plan
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.tenants import TenantDirectory
from services.scheduler.compiling import PlanCompiler, is_whole
from services.scheduler.horizon import Horizons
from services.scheduler.known_groups import KnownGroups
from services.scheduler.lighting import Lighting
from services.scheduler.outcomes import Outcomes, Report
from services.scheduler.places import place_of_group
from services.scheduler.profile import Place
from services.scheduler.records import Assignment, Group, Town
from services.scheduler.store.assignments import load_town, record_outcomes
from services.scheduler.undecided import Undecided

_log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
"""Domain seconds between two passes."""
SHORTEST_PAUSE_S: Final = 0.5
"""Real seconds between two passes at least: a time-lapse may make a domain minute shorter."""
MAX_SILENCE_S: Final = 180.0
"""Real seconds without a pass after which the service says that it is not well."""
_AT_ONCE: Final = 8

_REFUSALS: Final = (InvalidInput, FailedPrecondition, NotFound)
"""What lighting answers to a plan that it will not take, however often it is put."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A plan that lighting does not hold yet, or holds already."""

    assignment: Assignment
    group: Group
    plan: Plan
    origin: str
    waivers: str

    @property
    def key(self) -> str:
        """What would be refused: this plan, under what limits the group now, with the waivers of now."""
        return canonical_hash([self.plan.hash, self.group.limits, self.waivers])


class Synchroniser:
    """The loop, and the pass that it makes. Everything is given."""

    def __init__(
        self,
        database: Database,
        lighting: Lighting,
        tenants: TenantDirectory,
        clock: Clock,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._database, self._lighting, self._tenants, self._clock = database, lighting, tenants, clock
        self._every_s = every_s
        self._groups = KnownGroups(lighting, clock)
        self._compilers: defaultdict[str, PlanCompiler] = defaultdict(PlanCompiler)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._horizons = Horizons()
        self._undecided = Undecided()
        self._changed: dict[str, Tenant] = {}
        self._wake = asyncio.Event()
        self._troubles: dict[str, str] = {}

    def changed(self, tenant: Tenant) -> None:
        """Something of a municipality changed: its plans are looked at at once."""
        self._changed[tenant.uid] = tenant
        self._wake.set()

    async def run(self, beat: Callable[[], None]) -> None:
        """The loop: a pass each domain minute, beating after each, whether lighting is there or not."""
        waking = asyncio.create_task(self._follow_changes(), name="plans on change")
        try:
            while True:
                await self.synchronise_all(beat)
                beat()
                await self._pause()
        finally:
            waking.cancel()
            await asyncio.gather(waking, return_exceptions=True)

    async def synchronise_all(self, beat: Callable[[], None] = lambda: None) -> None:
        """A pass over every municipality. What is away is told once and tried again in the next pass."""
        try:
            tenants = await self._tenants.all()
        except LichtbuchError as error:
            self._tell({"": f"the municipalities cannot be listed: {error}"})
            return
        away, troubles = False, dict[str, str]()
        for tenant in tenants:
            try:
                if away:
                    await self._look(tenant)
                else:
                    await self.synchronise(tenant)
            except RetryableError as error:
                away = True
                troubles.setdefault("", str(error))
            except LichtbuchError as error:
                troubles[tenant.name] = str(error)
            beat()
        self._horizons.keep_only({tenant.uid for tenant in tenants})
        self._undecided.keep_only({tenant.uid for tenant in tenants})
        self._tell(troubles)

    async def synchronise(self, tenant: Tenant, *, retry_refused: bool = False) -> Report:
        """A pass over a municipality. `retry_refused` puts again what lighting refused, though nothing changed.

        Raises Unavailable or TimedOut while lighting or the database is away; what was done until then is recorded.
        """
        async with self._locks[tenant.uid]:
            town = await self._look(tenant)
            held = await self._lighting.held(tenant.name)
            hashes = held.hashes
            groups = await self._groups.of(tenant, hashes.keys())
            outcomes = Outcomes()
            due = await self._compile(tenant, town, groups, outcomes, held.waivers)
            missing = []
            for item in due:
                if item.plan.hash == hashes.get(item.group.name):
                    outcomes.equal(item.assignment, item.plan)
                elif item.key == item.assignment.refused_key and not retry_refused:
                    outcomes.refused(item.group.name, item.assignment, item.assignment.refusal, item.key)
                else:
                    missing.append(item)
            await self._put_all(missing, outcomes)
            await self._record(outcomes)
            self._horizons.note(tenant.uid, outcomes.applied_to(town.assignments), self._clock.now())
            if outcomes.failures:
                raise outcomes.failures[0]
            return outcomes.report

    async def _look(self, tenant: Tenant) -> Town:
        """What the municipality's plans are made from; notes how far ahead they reach."""
        town = await self._database.read(lambda session: load_town(session, tenant.uid))
        self._horizons.note(tenant.uid, town.assignments, self._clock.now())
        return town

    async def _compile(
        self, tenant: Tenant, town: Town, groups: dict[str, Group], outcomes: Outcomes, waivers: str
    ) -> list[_Due]:
        placed: list[tuple[Assignment, Group, Place]] = []
        for assignment in town.assignments:
            if not is_whole(town, assignment.calendar_uid):
                continue  # changed while it was read: the next pass sees it whole
            try:
                group = groups.get(assignment.group_uid)
                if group is None:
                    raise NotFound(
                        f"{tenant.name}/groups/{assignment.id}",
                        f"lighting has no group {assignment.id} any more; another group of the same id is to be"
                        " assigned anew",
                    )
                placed.append((assignment, group, place_of_group(group, tenant)))
            except (NotFound, FailedPrecondition, InvalidInput) as error:
                outcomes.refused(f"{tenant.name}/groups/{assignment.id}", assignment, error.message)
        now, compiler = self._clock.now(), self._compilers[tenant.uid]
        wanted = [(assignment.calendar_uid, place) for assignment, _, place in placed]
        compiled = await asyncio.to_thread(compiler.compile_all, town, wanted, now)
        self._undecided.note(
            tenant.uid, {group.name: made.warnings for (_, group, _), made in zip(placed, compiled, strict=True)}
        )
        due = []
        for (assignment, group, _), result in zip(placed, compiled, strict=True):
            if result.plan is None:
                outcomes.refused(group.name, assignment, result.problem)
            else:
                due.append(_Due(assignment, group, result.plan, result.origin, waivers))
        return due

    async def _put_all(self, missing: Sequence[_Due], outcomes: Outcomes) -> None:
        """Puts plans, some at once. The first sign that lighting is away ends it: the next pass goes on."""
        for start in range(0, len(missing), _AT_ONCE):
            batch = missing[start : start + _AT_ONCE]
            await asyncio.gather(*(self._put(item, outcomes) for item in batch))
            if any(isinstance(failure, RetryableError) for failure in outcomes.failures):
                return

    async def _put(self, item: _Due, outcomes: Outcomes) -> None:
        try:
            await self._lighting.put(item.group.name, item.plan, item.origin)
        except _REFUSALS as error:
            outcomes.refused(item.group.name, item.assignment, error.message, item.key)
        except LichtbuchError as error:
            outcomes.failed(error)
        else:
            outcomes.put(item.assignment, item.plan)
            _log.info("the plan of %s was put: %s", item.group.name, item.origin)

    async def _record(self, outcomes: Outcomes) -> None:
        if rows := outcomes.rows:
            await self._database.run(lambda session: record_outcomes(session, rows))

    async def _follow_changes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, {}
            for tenant in changed.values():
                try:
                    await self.synchronise(tenant)
                except LichtbuchError as error:
                    _log.warning("the plans of %s wait for the next pass: %s", tenant.name, error)
                except Exception:
                    # The pass of the minute meets the same and says so to the supervision of loops.
                    _log.exception("the plans of %s wait for the next pass", tenant.name)

    async def _pause(self) -> None:
        began = self._clock.real()
        await self._clock.sleep(self._every_s)
        left_s = SHORTEST_PAUSE_S - (self._clock.real() - began).total_seconds()
        if left_s > 0:
            await self._clock.sleep_real(left_s)

    def _tell(self, troubles: dict[str, str]) -> None:
        """Logs what is new since the last pass: by name of the municipality, or of all of them under ""."""
        for name, trouble in troubles.items():
            if name not in self._troubles:
                _log.warning(
                    "plans of %s cannot be compared for now; lighting goes on with those it has: %s",
                    name or "all municipalities",
                    trouble,
                )
        for name in self._troubles.keys() - troubles.keys():
            _log.info("plans of %s are compared again", name or "all municipalities")
        self._troubles = troubles
