"""ExchangeMeter: one register gives way to another, also long after the fact."""

from __future__ import annotations

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import current_tenant
from servicekit.convert import timestamp_from_proto
from services.metering.api.calls import Calls, Context
from services.metering.api.convert import meter_to_proto
from services.metering.life import Exchange, Origin
from services.metering.slot import slot_text, to_ms
from services.metering.store import meters as store
from services.metering.store.lives import exchange, rules_of, state_before


class ExchangeCalls(Calls):
    """Exchanges."""

    async def ExchangeMeter(self, request: pb.ExchangeMeterRequest, context: Context) -> pb.Meter:
        """Ends the register's life and begins the next one. Readings that were stored since go over to it."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        at = timestamp_from_proto(request.exchanged_at, "exchanged_at")
        if at > self.clock.now():
            raise InvalidInput.of("exchanged_at", "it lies in the future")
        serial = request.serial_number.strip()
        what = Exchange(to_ms(at), request.final_reading, request.first_reading, Origin.EXCHANGE, serial or None)
        source = self.source("exchange")

        def record(session: Session) -> pb.Meter:
            row = store.get_row(session, tenant.uid, name.id, str(name))
            meter = store.whole(session, [row])[0]
            was = meter_to_proto(tenant.id, meter)
            _check_final(session, meter, what)
            _, begun = exchange(session, row, meter.lives, what, source)
            if serial and begun.removed_ms is None:
                store.check_serial_number(session, tenant.uid, serial, row.uid)
                row.serial_number = serial
            row.revision += 1
            session.add(row)
            answer = meter_to_proto(tenant.id, store.whole(session, [row])[0])
            audit.record(session, "", str(name), row.uid, tenant.uid, before=was, after=answer, reason=request.reason)
            return answer

        answer = await self.database.run(record)
        self.bell.ring()
        self.changed()
        return answer


def _check_final(session: Session, meter: store.StoredMeter, what: Exchange) -> None:
    """Raises InvalidInput if the old register had shown more already than what is said to be its last counter."""
    old = next((life for life in meter.lives if life.covers(what.at_ms)), None)
    if old is None or old.rollover:
        return
    good = state_before(session, old, what.at_ms).good
    if good is not None and what.final_reading < good.value - rules_of(meter.row, old).noise:
        raise InvalidInput.of(
            "final_reading", f"{what.final_reading} is less than the {good.value} read at {slot_text(good.slot_ms)}"
        )
