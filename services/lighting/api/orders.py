"""Methods about what decides levels: overrides, lock-outs, plans."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlmodel import Session

from domain.canonical import canonical_hash
from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from domain.names import ResourceName, new_uid
from domain.plan import from_unix_ms, to_unix_ms
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit import audit
from servicekit.access import Role
from servicekit.context import Tenant, current_caller, current_tenant, current_tenants, scope_aware
from servicekit.convert import optional_timestamp_from_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting.api import convert, convert_plan
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.reach import Reach
from services.lighting.api.targets import targets_from_names
from services.lighting.override import check_floors, check_reach, check_times
from services.lighting.plan import check_plan
from services.lighting.store import orders as store
from services.lighting.store.inventory import FEEDERS, GROUPS, get
from services.lighting.store.luminaires import group_limits, lamps_of
from services.lighting.store.names import Names
from services.lighting.store.tables import FeederRow, LockoutRow, OverrideRow
from services.lighting.store.waivers import waivers_from


class OrderCalls(Calls):
    """Overrides, lock-outs and plans. What was ordered holds in this process when the call returns."""

    # --- overrides --------------------------------------------------------------------------------------------------

    @scope_aware
    async def CreateOverride(self, request: pb.CreateOverrideRequest, context: Context) -> ctl.Override:
        """A person's command, with an end."""
        tenant, given, now = current_tenant(), request.override, self.clock.now()
        start, expire = self._times(given, now)
        priority = convert.priority_from_proto(given.priority)

        def create(session: Session) -> ctl.Override:
            def make() -> ctl.Override:
                targets = targets_from_names(session, tenant, list(given.targets), "override.targets")
                Reach(session, tenant).require_targets(targets)
                lamps = list(lamps_of(session, tenant, [uid for uid, _ in targets], to_unix_ms(start)))
                check_floors(given.level_permille, priority, start, expire, lamps)
                check_reach(given.level_permille, lamps)
                uid = new_uid()
                row = OverrideRow(
                    uid=uid,
                    municipality_uid=tenant.uid,
                    id=request.override_id or uid,
                    level_permille=given.level_permille,
                    priority=int(priority),
                    start_ms=to_unix_ms(start),
                    expire_ms=to_unix_ms(expire),
                    issued_at_ms=to_unix_ms(now),
                    reason=given.reason,
                    author=current_caller().subject,
                )
                store.add_override(session, tenant, row, targets)
                answer = _show_override(session, tenant, row)
                audit.record(session, "", answer.name, row.uid, tenant.uid, after=answer, reason=given.reason)
                return answer

            real = self.clock.real()
            return once(session, request, ctl.Override, make, municipality_uid=tenant.uid, real=real)

        answer = await self.database.run(create)
        await self.parts.memory.refresh()
        return answer

    @scope_aware
    async def GetOverride(self, request: pb.GetOverrideRequest, context: Context) -> ctl.Override:
        """An override."""
        tenant = current_tenant()

        def find(session: Session) -> ctl.Override:
            row = store.get_order(session, OverrideRow, tenant, _id("overrides", request.name))
            _require_override(session, tenant, row)
            return _show_override(session, tenant, row)

        return await self.database.read(find)

    @scope_aware
    async def ListOverrides(self, request: pb.ListOverridesRequest, context: Context) -> pb.ListOverridesResponse:
        """Overrides by name; all, or those that hold now or will."""
        tenants, active_at = current_tenants(), self.now_ms if request.active_only else None

        def find(session: Session) -> pb.ListOverridesResponse:
            def conditions(tenant: Tenant) -> Any:
                return Reach(session, tenant).conditions(OverrideRow)

            found = page(
                request,
                lambda after, limit: store.list_orders(
                    session, OverrideRow, tenants, after, limit, active_at, conditions
                ),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            targets = store.targets_of(session, [row.uid for _, row in found.items])
            return pb.ListOverridesResponse(
                overrides=[convert.override_to_proto(row, tenant, targets[row.uid]) for tenant, row in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(find)

    @scope_aware
    async def ReleaseOverride(self, request: pb.ReleaseOverrideRequest, context: Context) -> ctl.Override:
        """Ends an override before its time; to release it again changes nothing."""
        tenant, now_ms = current_tenant(), self.now_ms

        def release(session: Session) -> ctl.Override:
            row = store.get_order(session, OverrideRow, tenant, _id("overrides", request.name), lock=True)
            _require_override(session, tenant, row)
            before = _show_override(session, tenant, row)
            if row.released_at_ms or row.expire_ms <= now_ms:
                return before
            store.release(session, row, now_ms)
            after = _show_override(session, tenant, row)
            audit.record(session, "", after.name, row.uid, tenant.uid, before, after, request.reason)
            return after

        answer = await self.database.run(release)
        await self.parts.memory.refresh()
        return answer

    # --- lock-outs --------------------------------------------------------------------------------------------------

    @scope_aware
    async def CreateLockout(self, request: pb.CreateLockoutRequest, context: Context) -> ctl.Lockout:
        """Locks a feeder out. When this returns, nothing is being written to it any more, by whatever process.

        Raises FailedPrecondition where that cannot be known: the lock-out is stored then, and confirmed when it is
        asked for again under the same request id and can be.
        """
        tenant, given, now_ms = current_tenant(), request.lockout, self.now_ms

        def create(session: Session) -> ctl.Lockout:
            def make() -> ctl.Lockout:
                feeder = _feeder(session, tenant, given.feeder)
                Reach(session, tenant).require(feeder, given.feeder)
                uid = new_uid()
                row = LockoutRow(
                    uid=uid,
                    municipality_uid=tenant.uid,
                    id=request.lockout_id or uid,
                    feeder_uid=feeder.uid,
                    reason=given.reason,
                    owner=current_caller().subject,
                    created_at_ms=now_ms,
                )
                store.add_lockout(session, tenant, row)
                answer = _show_lockout(session, tenant, row)
                audit.record(session, "", answer.name, row.uid, tenant.uid, after=answer, reason=given.reason)
                return answer

            real = self.clock.real()
            return once(session, request, ctl.Lockout, make, municipality_uid=tenant.uid, real=real)

        answer = await self.database.run(create)
        await self.parts.memory.refresh()
        feeder_uid = await self.database.read(lambda session: _feeder(session, tenant, answer.feeder).uid)
        await self.parts.control.quiet(feeder_uid)
        await self.parts.writers.confirm()
        return answer

    @scope_aware
    async def GetLockout(self, request: pb.GetLockoutRequest, context: Context) -> ctl.Lockout:
        """A lock-out."""
        tenant = current_tenant()

        def find(session: Session) -> ctl.Lockout:
            row = store.get_order(session, LockoutRow, tenant, _id("lockouts", request.name))
            _require_lockout(session, tenant, row)
            return _show_lockout(session, tenant, row)

        return await self.database.read(find)

    @scope_aware
    async def ListLockouts(self, request: pb.ListLockoutsRequest, context: Context) -> pb.ListLockoutsResponse:
        """Lock-outs by name; all, or those that hold."""
        tenants, active_at = current_tenants(), self.now_ms if request.active_only else None

        def find(session: Session) -> pb.ListLockoutsResponse:
            def conditions(tenant: Tenant) -> Any:
                return Reach(session, tenant).conditions(LockoutRow)

            found = page(
                request,
                lambda after, limit: store.list_orders(
                    session, LockoutRow, tenants, after, limit, active_at, conditions
                ),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            names = Names(session, tenants)
            return pb.ListLockoutsResponse(
                lockouts=[convert.lockout_to_proto(row, tenant, names) for tenant, row in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(find)

    @scope_aware
    async def ReleaseLockout(self, request: pb.ReleaseLockoutRequest, context: Context) -> ctl.Lockout:
        """Ends a lock-out: for its owner, or an admin."""
        tenant, caller, now_ms = current_tenant(), current_caller(), self.now_ms
        is_admin = any(b.role is Role.ADMIN and b.holds_in(tenant.id) for b in caller.bindings)

        def release(session: Session) -> ctl.Lockout:
            row = store.get_order(session, LockoutRow, tenant, _id("lockouts", request.name), lock=True)
            _require_lockout(session, tenant, row)
            before = _show_lockout(session, tenant, row)
            if row.owner != caller.subject and not is_admin:
                raise NotPermitted(f"{before.name} belongs to {row.owner}; only its owner or an admin releases it")
            if row.released_at_ms:
                return before
            store.release(session, row, now_ms)
            after = _show_lockout(session, tenant, row)
            audit.record(session, "", after.name, row.uid, tenant.uid, before, after, request.reason)
            return after

        answer = await self.database.run(release)
        await self.parts.memory.refresh()
        return answer

    # --- plans ------------------------------------------------------------------------------------------------------

    async def PutPlan(self, request: pb.PutPlanRequest, context: Context) -> ctl.Plan:
        """Puts a group's plan in place of the one before; the same plan again changes nothing."""
        tenant, now_ms = current_tenant(), self.now_ms
        plan = convert_plan.plan_from_proto(request.plan)

        def put(session: Session) -> ctl.Plan:
            group = get(session, GROUPS, tenant, _id("groups", request.parent, "parent"), lock=True)
            known = store.get_plan(session, group.uid)
            before = convert_plan.plan_to_proto(known, request.parent) if known is not None else None
            if before is not None and before.hash == plan.hash:
                return before
            check_plan(plan, group_limits(session, tenant, group.uid, plan.valid_from_ms))
            row = store.put_plan(session, group, plan, request.plan.origin, now_ms)
            after = convert_plan.plan_to_proto(row, request.parent)
            audit.record(session, "", after.name, group.uid, tenant.uid, _brief(before), _brief(after))
            return after

        return await self.database.run(put)

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> ctl.Plan:
        """The plan of a group."""
        tenant = current_tenant()
        group_name = request.name.removesuffix("/plan")

        def find(session: Session) -> ctl.Plan:
            group = get(session, GROUPS, tenant, _id("groups", group_name))
            row = store.get_plan(session, group.uid)
            if row is None:
                raise NotFound(request.name)
            return convert_plan.plan_to_proto(row, group_name)

        return await self.database.read(find)

    async def ListPlanHashes(self, request: pb.ListPlanHashesRequest, context: Context) -> pb.ListPlanHashesResponse:
        """The hash of every group's plan, and one over the waivers: when it changes, more may be taken."""
        tenants, now_ms = sorted(current_tenants(), key=lambda tenant: tenant.id), self.now_ms

        def find(session: Session) -> pb.ListPlanHashesResponse:
            answer = pb.ListPlanHashesResponse()
            waivers = [waiver for tenant in tenants for waiver in waivers_from(session, now_ms, tenant.uid)]
            answer.waivers_hash = canonical_hash([list(astuple(waiver)) for waiver in waivers])
            for tenant in tenants:
                for identifier, plan_hash in store.plan_hashes(session, tenant):
                    answer.groups.append(GROUPS.name(tenant.id, identifier))
                    answer.hashes.append(plan_hash)
            return answer

        return await self.database.read(find)

    def _times(self, given: ctl.Override, now: datetime) -> tuple[datetime, datetime]:
        """From when and until when, to the millisecond. Raises InvalidInput."""
        start = optional_timestamp_from_proto(given, "start_time") or now
        expire = optional_timestamp_from_proto(given, "expire_time")
        if expire is None:
            raise InvalidInput.of("override.expire_time", "is required: nothing is commanded without an end")
        start, expire = (from_unix_ms(to_unix_ms(instant)) for instant in (start, expire))
        check_times(start, expire, now)
        return start, expire


def _id(collection: str, name: str, field: str = "name") -> str:
    return ResourceName.parse(name, field=field, collection=collection).id


def _feeder(session: Session, tenant: Tenant, name: str) -> FeederRow:
    try:
        return get(session, FEEDERS, tenant, _id("feeders", name, "lockout.feeder"), lock=False)
    except NotFound as error:
        raise InvalidInput.of("lockout.feeder", f"{name} does not exist") from error


def _show_override(session: Session, tenant: Tenant, row: OverrideRow) -> ctl.Override:
    return convert.override_to_proto(row, tenant, store.targets_of(session, [row.uid])[row.uid])


def _show_lockout(session: Session, tenant: Tenant, row: LockoutRow) -> ctl.Lockout:
    return convert.lockout_to_proto(row, tenant, Names(session, [tenant]))


def _require_override(session: Session, tenant: Tenant, row: OverrideRow) -> None:
    targets = store.targets_of(session, [row.uid])[row.uid]
    Reach(session, tenant).require_targets([(t.target_uid, t.target_name) for t in targets])


def _require_lockout(session: Session, tenant: Tenant, row: LockoutRow) -> None:
    feeder = session.get(FeederRow, row.feeder_uid)
    if feeder is None:
        raise FailedPrecondition.of("name", "the lock-out's feeder is gone")
    Reach(session, tenant).require(feeder, f"{tenant.name}/lockouts/{row.id}")


def _brief(plan: Message | None) -> dict[str, Any] | None:
    """A plan in the audit trail: its hash stands for its instants and levels."""
    if not isinstance(plan, ctl.Plan):
        return None
    return {
        "hash": plan.hash,
        "origin": plan.origin,
        "valid_from": plan.valid_from.ToJsonString(),
        "valid_until": plan.valid_until.ToJsonString(),
        "instants": len(plan.instants_unix_ms),
        "rules": len(plan.rules),
    }
