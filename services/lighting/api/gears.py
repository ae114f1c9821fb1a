"""Methods of drivers: which one is in a luminaire since when, how long both have burnt, and swaps that people record,
confirm or reject."""

from __future__ import annotations

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import from_unix_ms, to_unix_ms
from lichtbuch.lighting.v1 import gears_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant, current_tenants, scope_aware
from servicekit.convert import optional_timestamp_from_proto, timestamp_to_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting import swapped
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.reach import Reach
from services.lighting.store import gears as store
from services.lighting.store.gear_tables import GearLifeRow
from services.lighting.store.gears import LifeState
from services.lighting.store.inventory import LUMINAIRES, get
from services.lighting.store.names import uids_of
from services.lighting.store.tables import LuminaireRow
from services.lighting.swapped import Sign

_SIGNS = (
    (Sign.HOURS_FELL, pb.GEAR_SIGN_HOURS_FELL),
    (Sign.HOURS_JUMPED, pb.GEAR_SIGN_HOURS_JUMPED),
    (Sign.SETTINGS_LOST, pb.GEAR_SIGN_SETTINGS_LOST),
    (Sign.IDENTITY_CHANGED, pb.GEAR_SIGN_IDENTITY_CHANGED),
)


class GearCalls(Calls):
    """Drivers in luminaires."""

    @scope_aware
    async def ListLuminaireGears(
        self, request: pb.ListLuminaireGearsRequest, context: Context
    ) -> pb.ListLuminaireGearsResponse:
        """Luminaires by name, with their drivers."""
        tenants = current_tenants()

        def find(session: Session) -> pb.ListLuminaireGearsResponse:
            uid = None
            if request.luminaire:
                named = [tenant for tenant in tenants if request.luminaire.startswith(f"{tenant.name}/")]
                uid = _uid(session, named[0], request.luminaire) if named else ""
            found = page(
                request,
                lambda after, limit: store.list_gears(
                    session, tenants, after, limit, luminaire_uid=uid, swapped_only=request.swapped_only,
                    undecided_only=request.undecided_only,
                    where=lambda tenant: Reach(session, tenant).conditions(LuminaireRow),
                ),
                lambda item: (item[0].id, item[1].id),
                largest=LARGEST_PAGE,
            )  # fmt: skip
            return pb.ListLuminaireGearsResponse(
                gears=[_gear(*item) for item in found.items], next_page_token=found.next_page_token
            )

        return await self.database.read(find)

    @scope_aware
    async def RecordGearSwap(self, request: pb.RecordGearSwapRequest, context: Context) -> pb.LuminaireGear:
        """A person swapped a driver: its settings are written again, and new burning hours start."""
        tenant, author, now_ms = current_tenant(), current_caller().subject, self.now_ms
        installed = optional_timestamp_from_proto(request, "installed_at")
        installed_ms = now_ms if installed is None else to_unix_ms(installed)
        if installed_ms > now_ms:
            raise InvalidInput.of("installed_at", "lies in the future")

        def record(session: Session) -> pb.LuminaireGear:
            def make() -> pb.LuminaireGear:
                row = _luminaire(session, tenant, request.name)
                before = _shown(session, tenant, row)
                store.record_swap(
                    session, row, installed_ms=installed_ms, serial=request.serial.strip(),
                    first_s=request.first_counter_s if request.HasField("first_counter_s") else None,
                    reason=request.reason, author=author, now_ms=now_ms,
                )  # fmt: skip
                return _changed(session, tenant, row, before, request.reason)

            real = self.clock.real()
            return once(session, request, pb.LuminaireGear, make, municipality_uid=tenant.uid, real=real)

        return await self.database.run(record)

    @scope_aware
    async def DecideGearSwap(self, request: pb.DecideGearSwapRequest, context: Context) -> pb.LuminaireGear:
        """A person says whether a driver was really swapped."""
        tenant, author, now_ms = current_tenant(), current_caller().subject, self.now_ms

        def decide(session: Session) -> pb.LuminaireGear:
            row = _luminaire(session, tenant, request.name)
            before = _shown(session, tenant, row)
            store.decide(
                session, row, really=request.swapped, serial=request.serial.strip(), reason=request.reason,
                author=author, now_ms=now_ms,
            )  # fmt: skip
            return _changed(session, tenant, row, before, request.reason)

        return await self.database.run(decide)


def _luminaire(session: Session, tenant: Tenant, name: str) -> LuminaireRow:
    """A luminaire within the caller's reach. Raises NotFound, NotPermitted."""
    row: LuminaireRow = get(session, LUMINAIRES, tenant, ResourceName.parse(name, field="name").id)
    Reach(session, tenant).require(row, name)
    return row


def _uid(session: Session, tenant: Tenant, name: str) -> str:
    identifier = ResourceName.parse(name, field="luminaire", collection="luminaires").id
    return uids_of(session, tenant, "luminaires", [identifier]).get(identifier, "")


def _shown(session: Session, tenant: Tenant, row: LuminaireRow) -> pb.LuminaireGear:
    return _gear(tenant, row, store.lives_of(session, [row.uid]).get(row.uid, []))


def _changed(
    session: Session, tenant: Tenant, row: LuminaireRow, before: pb.LuminaireGear, reason: str
) -> pb.LuminaireGear:
    after = _shown(session, tenant, row)
    audit.record(session, "", after.luminaire, row.uid, tenant.uid, before, after, reason)
    return after


def _gear(tenant: Tenant, lamp: LuminaireRow, lives: list[GearLifeRow]) -> pb.LuminaireGear:
    """The drivers of a luminaire."""
    answer = pb.LuminaireGear(luminaire=LUMINAIRES.name(tenant.id, lamp.id), lives=[_life(row) for row in lives])
    total = swapped.total_s([store.burnt_s(row) for row in lives if row.state != LifeState.REJECTED])
    if total is not None:
        answer.burning_s = total
    row = store.current(lives)
    if row is not None and row.last_s is not None:
        answer.gear_burning_s = max(0, row.carried_s + row.last_s)
    return answer


def _life(row: GearLifeRow) -> pb.GearLife:
    life = pb.GearLife(
        number=row.number,
        state=row.state,  # type: ignore[arg-type]  # the numbers are the contract's
        signs=[word for sign, word in _SIGNS if row.signs & sign],
        evidence=row.evidence,
        identity=row.identity,
        serial=row.serial,
        first_counter_s=row.first_s,
        last_counter_s=row.last_s,
        burning_s=None if row.state == LifeState.REJECTED else store.burnt_s(row),
        reason=row.reason,
        author=row.author,
    )
    for field, at_ms in (
        ("installed_at", row.installed_ms),
        ("last_read_at", row.last_ms),
        ("decided_at", row.decided_ms),
    ):
        if at_ms:
            getattr(life, field).CopyFrom(timestamp_to_proto(from_unix_ms(at_ms)))
    return life
