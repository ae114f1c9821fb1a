"""What the watch over waste and data has found, as the page shows it and as a table for spreadsheets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final

from lichtbuch.metering.v1 import metering_pb2
from services.admin.fault_list import csv_text
from services.admin.figures import id_of, instant

RULES: Final = (
    "night_base_load_up",
    "weekend_use",
    "water_never_stops",
    "heating_in_warm_weather",
    "sum_check",
    "stock_does_not_add_up",
)
_STANDS: Final = (metering_pb2.FINDING_STATE_OPEN, metering_pb2.FINDING_STATE_ACKNOWLEDGED)
HEADINGS: Final = (
    "finding", "meter", "meter_name", "place", "rule", "since", "until", "excess", "unit", "cost_eur",
    "coverage_permille",
    "state", "raised", "acknowledged_by", "note", "detail",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FindingNow:
    """Something that stands out."""

    name: str
    meter: str
    meter_display_name: str
    rule: str
    start: datetime
    end: datetime | None
    excess: int
    """In whole units."""
    unit: int
    cost_cents: int
    detail: str
    state: int
    """A FindingState of the contract."""
    acknowledged_by: str
    note: str
    raised_at: datetime
    closed_at: datetime | None
    coverage: int
    etag: str

    @property
    def is_open(self) -> bool:
        """It stands, and nobody has said that he knows."""
        return self.state == metering_pb2.FINDING_STATE_OPEN

    @property
    def stands(self) -> bool:
        """It has not ended."""
        return self.state in _STANDS


def finding_from_proto(message: metering_pb2.Finding) -> FindingNow:
    """A finding."""
    return FindingNow(
        name=message.name,
        meter=message.meter,
        meter_display_name=message.meter_display_name or id_of(message.meter),
        rule=message.rule,
        start=instant(message.start_time),
        end=instant(message.end_time) if message.HasField("end_time") else None,
        excess=message.excess_amount,
        unit=int(message.unit),
        cost_cents=message.cost_cents,
        detail=message.detail,
        state=int(message.state),
        acknowledged_by=message.acknowledged_by,
        note=message.note,
        raised_at=instant(message.raised_at),
        closed_at=instant(message.closed_at) if message.HasField("closed_at") else None,
        coverage=message.coverage_permille,
        etag=message.etag,
    )


def euros(cents: int) -> Decimal:
    """Money out of cents."""
    return Decimal(cents) / 100


def matching(
    findings: Iterable[FindingNow], *, text: str = "", rule: str = "", new_only: bool = False, places: dict[str, str]
) -> tuple[FindingNow, ...]:
    """The findings that fit, the dearest first. places: building or cabinet by name of the meter."""
    words = text.casefold().split()

    def fits(finding: FindingNow) -> bool:
        known = f"{id_of(finding.meter)} {finding.meter_display_name} {places.get(finding.meter, '')}".casefold()
        return all(word in known for word in words)

    found = [each for each in findings if rule in ("", each.rule) and (each.is_open or not new_only) and fits(each)]
    return tuple(sorted(found, key=lambda each: (not each.stands, -each.cost_cents, each.name)))


def finding_row(finding: FindingNow, place: str, tz: tzinfo) -> tuple[object, ...]:
    """A finding as a row; instants in the town's local time."""

    def local(moment: datetime | None) -> datetime | None:
        return moment.astimezone(tz) if moment else None

    return (
        id_of(finding.name),
        id_of(finding.meter),
        finding.meter_display_name,
        place,
        finding.rule,
        local(finding.start),
        local(finding.end),
        finding.excess,
        metering_pb2.Unit.Name(metering_pb2.Unit.ValueType(finding.unit)).removeprefix("UNIT_").lower(),
        f"{euros(finding.cost_cents):.2f}",
        finding.coverage,
        metering_pb2.FindingState.Name(metering_pb2.FindingState.ValueType(finding.state))
        .removeprefix("FINDING_STATE_")
        .lower(),
        local(finding.raised_at),
        finding.acknowledged_by,
        finding.note,
        finding.detail,
    )


def findings_csv(findings: Sequence[FindingNow], places: dict[str, str], tz: tzinfo) -> str:
    """Findings as CSV text."""
    return csv_text(HEADINGS, [finding_row(each, places.get(each.meter, ""), tz) for each in findings])
