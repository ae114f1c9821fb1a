"""The scheduler's own metrics. None is labelled by municipality or group: those have no bound."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

COMPILE_DURATION: Final = Histogram(
    "lichtbuch_scheduler_compile_duration_seconds",
    "Time that compiling one group's plan took; plans that nobody changed are not compiled again.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
PLANS: Final = Counter(
    "lichtbuch_scheduler_plans",
    "Comparisons of a group's plan with lighting's, by outcome: equal, put, refused, failed.",
    ("outcome",),
)
REFUSALS: Final = Gauge(
    "lichtbuch_scheduler_refused_assignments", "Assignments whose plan stands refused, as last seen."
)
UNDECIDED: Final = Gauge(
    "lichtbuch_scheduler_undecided_assignments",
    "Assignments whose calendar asks for holidays that nobody has told, within the nights ahead that are looked at.",
)
PLANNED_HORIZON: Final = Gauge(
    "lichtbuch_scheduler_planned_horizon_seconds",
    "Domain seconds until the first of the plans that lighting was last seen to hold ends; 0 where one never held any,"
    " NaN without assignments.",
)
LIGHTING_REACHABLE: Final = Gauge(
    "lichtbuch_scheduler_lighting_reachable", "1 while lighting answers, 0 while it does not."
)
for _outcome in ("equal", "put", "refused", "failed"):
    PLANS.labels(_outcome)
PLANNED_HORIZON.set(float("nan"))
