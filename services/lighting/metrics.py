"""Lighting's own metrics. Names follow Prometheus; nothing here has a label per luminaire."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

PASS_DURATION: Final = Histogram(
    "lichtbuch_lighting_reconcile_duration_seconds",
    "Real duration of a pass of the reconcile loop, until every device that answers was served.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
PASSES: Final = Counter("lichtbuch_lighting_reconcile_passes", "Passes of the reconcile loop.")
LUMINAIRES: Final = Gauge("lichtbuch_lighting_luminaires", "Luminaires by state.", ("state",))
MISMATCHES: Final = Gauge(
    "lichtbuch_lighting_mismatched_luminaires",
    "Luminaires in control and powered whose settled level is not the due one.",
)
FAULTS: Final = Gauge("lichtbuch_lighting_faulty_luminaires", "Luminaires by fault.", ("fault",))
OPEN_FAULTS: Final = Gauge(
    "lichtbuch_lighting_open_faults",
    "Standing faults in the book by kind, those reported by hand included; told by the process that holds the field.",
    ("kind",),
)
UNACKNOWLEDGED_FAULTS: Final = Gauge(
    "lichtbuch_lighting_unacknowledged_faults", "Standing faults by kind that nobody has acknowledged.", ("kind",)
)
FAULTS_GIVEN_UP: Final = Counter(
    "lichtbuch_lighting_given_up_faults", "Faults of the past lost because the database was away for too long."
)
WRITES: Final = Counter("lichtbuch_lighting_writes", "Commands to the field by outcome.", ("target", "outcome"))
COMMANDED: Final = Counter("lichtbuch_lighting_commanded_luminaires", "Luminaires that commands were meant for.")
READINGS: Final = Counter("lichtbuch_lighting_readings", "Readings of gateways and controllers.", ("outcome",))
HEARTBEATS: Final = Counter(
    "lichtbuch_lighting_heartbeats", "Heartbeats to controllers that watch for one, by outcome.", ("outcome",)
)
STORED_SCHEDULES: Final = Counter(
    "lichtbuch_lighting_stored_schedules", "Schedules written to controllers that keep one, by outcome.", ("outcome",)
)
STEP_FAILURES: Final = Counter(
    "lichtbuch_lighting_step_failures", "Steps of a gateway or a controller that ended in an unexpected error."
)
ENDPOINTS: Final = Gauge("lichtbuch_lighting_endpoints", "Field endpoints by health.", ("health",))
SENSORS: Final = Gauge("lichtbuch_lighting_sensors", "Sensors by state: fresh, stale, or never heard of.", ("state",))
SENSOR_VALUES: Final = Counter(
    "lichtbuch_lighting_sensor_values", "Values of sensors by what became of them.", ("outcome",)
)
SENSED_GROUPS: Final = Gauge("lichtbuch_lighting_sensed_groups", "Groups with a rule that a sensor makes active now.")
LOCKED_FEEDERS: Final = Gauge("lichtbuch_lighting_locked_feeders", "Feeders that are locked out.")
ENERGISED_FEEDERS: Final = Gauge("lichtbuch_lighting_feeders", "Feeders by supply.", ("supply",))
DATABASE_AWAY: Final = Gauge(
    "lichtbuch_lighting_database_away", "1 while control goes on from memory because the database is away."
)
SPOOLED: Final = Gauge("lichtbuch_lighting_spooled_level_changes", "Level changes waiting for the database.")
SPOOL_DROPPED: Final = Counter("lichtbuch_lighting_dropped_level_changes", "Level changes lost: the spool was full.")
STORED: Final = Counter("lichtbuch_lighting_level_changes_stored", "Level changes stored in the history.")
WATCHERS: Final = Gauge("lichtbuch_lighting_watchers", "Open WatchLuminaires streams.")
PLANS_RUN_OUT: Final = Gauge(
    "lichtbuch_lighting_groups_without_plan", "Groups with members for which no plan speaks now: the default holds."
)
