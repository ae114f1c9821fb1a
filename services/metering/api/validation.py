"""ValidateReadings: stored readings held against the rules. Changes nothing."""

from __future__ import annotations

from functools import partial

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import scope_aware
from servicekit.convert import timestamp_to_proto
from services.metering.api.calls import Calls, Context, in_scope, meter_name, seen_rows
from services.metering.api.convert import period_from_proto
from services.metering.meter import Kind
from services.metering.slot import from_ms, to_ms
from services.metering.store.checks import Found, Subject, check_stored
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.sum_checks import check_sums
from services.metering.validation.parameters import PARAMETERS
from services.metering.validation.series import RuleFinding

_MOST = 10_000


class ValidationCalls(Calls):
    """Validation."""

    @scope_aware
    async def ValidateReadings(
        self, request: pb.ValidateReadingsRequest, context: Context
    ) -> pb.ValidateReadingsResponse:
        """What the rules find, by meter, rule and time. All rules run, since what one doubts the next ones do not see;
        told is what was asked for."""
        span = period_from_proto(request)
        asked = frozenset(request.rules or PARAMETERS)
        for number, rule in enumerate(request.rules):
            if rule not in PARAMETERS:
                reason = f"{rule!r} is no rule; rules are {', '.join(PARAMETERS)}"
                raise InvalidInput.of(f"rules[{number}]", reason)
        now_ms = to_ms(self.clock.now())

        def validate(session: Session) -> pb.ValidateReadingsResponse:
            rows = seen_rows(session, list(request.meters))
            lives = lives_of(session, [row.uid for _, row in rows])
            subjects = [
                Subject(row, life, rules_of(row, life, self.parameters))
                for _, row in rows
                if row.kind != Kind.VIRTUAL
                for life in lives[row.uid]
            ]
            meters = {one.life.key: one.row.uid for one in subjects}
            by_meter: dict[str, list[RuleFinding]] = {row.uid: [] for _, row in rows}
            for one in check_stored(session, subjects, span, self.parameters, now_ms):
                by_meter[meters[one.key]].append(one.finding)
            answer = pb.ValidateReadingsResponse()
            for tenant, row in rows:
                name, found = meter_name(tenant.id, row), by_meter[row.uid]
                until_now = span[0], min(span[1], now_ms)
                seen = partial(in_scope, tenant)
                if "sum_check" in asked:
                    found += check_sums(session, row, until_now, zone(tenant.time_zone), self.parameters, seen)
                found = [one for one in found if one.rule in asked]
                answer.total += len(found)
                room = _MOST - len(answer.findings)
                answer.findings.extend(finding_to_proto(name, one) for one in found[:room])
            return answer

        return await self.database.read(validate)


def finding_to_proto(meter: str, finding: RuleFinding) -> pb.RuleFinding:
    """What a rule found about a meter of this name."""
    return pb.RuleFinding(
        meter=meter,
        rule=finding.rule,
        first_slot=timestamp_to_proto(from_ms(finding.first_slot_ms)),
        last_slot=timestamp_to_proto(from_ms(finding.last_slot_ms)),
        count=finding.count,
        detail=finding.detail,
        is_doubted=finding.is_doubted,
    )


def findings_to_proto(names: dict[int, str], found: list[Found], most: int) -> list[pb.RuleFinding]:
    """Findings about registers, by the names of their meters."""
    return [finding_to_proto(names[one.key], one.finding) for one in found[:most]]
