"""Metering's own metrics. Names follow Prometheus conventions; never a series per meter."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.metering.reading import Status
from services.metering.vee import Finding
from services.metering.waste.watch import Rule

READINGS_STORED: Final = Counter("lichtbuch_metering_readings_stored", "Readings newly stored, by status.", ("status",))
READINGS_REFUSED: Final = Counter(
    "lichtbuch_metering_readings_refused", "Readings that were not stored, by reason.", ("reason",)
)
FINDINGS: Final = Counter("lichtbuch_metering_findings", "What the checks found in polled counters.", ("finding",))
POLL_DURATION: Final = Histogram(
    "lichtbuch_metering_poll_duration_seconds",
    "Real time from the begin of a slot's poll to its last answer or its deadline.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
SLOTS_LATE: Final = Counter(
    "lichtbuch_metering_slots_late",
    "Values that were read more than ten domain seconds after every endpoint had had its turn.",
)
SLOTS_UNREAD: Final = Counter("lichtbuch_metering_slots_unread", "Slots of a meter that were flagged as gaps.")
METERS: Final = Gauge("lichtbuch_metering_meters", "Meters by the state of their reading.", ("state",))
ENDPOINTS_AGE: Final = Gauge(
    "lichtbuch_metering_endpoints_refreshed_timestamp_seconds",
    "Real time at which the registry last told its endpoints.",
)
CAUGHT_UP: Final = Counter(
    "lichtbuch_metering_slots_caught_up", "Gaps that were filled from what devices had recorded."
)
WATCHED: Final = Counter(
    "lichtbuch_metering_slots_told", "Values of a slot that were taken from a subscription, without asking."
)
SPOOL_RECORDS: Final = Gauge("lichtbuch_metering_spool_records", "Records in the spool that wait for the database.")
SPOOL_BYTES: Final = Gauge("lichtbuch_metering_spool_bytes", "Size of the spool.")
SPOOL_THINNED: Final = Counter(
    "lichtbuch_metering_spool_thinned_readings", "Readings between full hours that a full spool gave up."
)
SPOOL_DROPPED: Final = Counter("lichtbuch_metering_spool_dropped_readings", "Readings that a full spool lost.")
SPOOL_DAMAGED: Final = Counter("lichtbuch_metering_spool_damaged_records", "Records put aside: damaged or refused.")
RESETS: Final = Counter("lichtbuch_metering_register_resets", "Resets of registers that polling confirmed.")
SERIAL_CHECKS: Final = Counter(
    "lichtbuch_metering_serial_checks", "Comparisons of a meter's own number with the registered one.", ("outcome",)
)
FOREIGN_METERS: Final = Gauge(
    "lichtbuch_metering_foreign_meters", "Meters in whose place one with another than the registered number answers."
)
ROLLUPS_MADE: Final = Counter("lichtbuch_metering_rollups_made", "Days of meters that were worked out and kept.")
ROLLUPS_DUE: Final = Gauge("lichtbuch_metering_rollups_due", "Meters whose roll-ups wait to be brought up to date.")
READINGS_DELETED: Final = Counter("lichtbuch_metering_readings_deleted", "Readings that retention has deleted.")
WASTE_FINDINGS: Final = Gauge("lichtbuch_metering_waste_findings", "Findings of waste that stand, by rule.", ("rule",))
WASTE_CHANGES: Final = Counter(
    "lichtbuch_metering_waste_changes",
    "Findings of waste that were raised, extended or ended, by rule.",
    ("rule", "change"),
)
WASTE_LOOKED: Final = Gauge(
    "lichtbuch_metering_waste_looked_timestamp_seconds", "When the waste watch last looked at a municipality."
)
WATCHERS: Final = Gauge("lichtbuch_metering_watchers", "Open streams of WatchReadings.")


def _begin_at_zero() -> None:
    """Every series is there from the start: a rate of what has never happened is 0, not nothing."""
    for status in Status:
        READINGS_STORED.labels(status.name.lower())
    for reason in ("conflict", "ingest", "no_register", "not_kept"):
        READINGS_REFUSED.labels(reason)
    for finding in Finding:
        if finding is not Finding.NONE:
            FINDINGS.labels(finding.value)
    for state in (Status.MEASURED, Status.GAP, Status.DOUBTFUL):
        METERS.labels(state.name.lower())
    METERS.labels("not_polled")
    for outcome in ("same", "foreign"):
        SERIAL_CHECKS.labels(outcome)
    for rule in Rule:
        WASTE_FINDINGS.labels(rule.value)
        for change in ("raise", "extend", "end"):
            WASTE_CHANGES.labels(rule.value, change)


_begin_at_zero()
