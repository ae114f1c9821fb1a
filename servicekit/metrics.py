"""The metrics that every service has, and the buckets and names they follow. Prefix `lichtbuch_`, no unbounded labels.

A service's own metrics live with what they measure. All of them are in prometheus_client's default registry.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Info

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

GRPC_REQUESTS: Final = Counter(
    "lichtbuch_grpc_requests", "Finished calls by gRPC status code.", ("service", "method", "code")
)
GRPC_DURATION: Final = Histogram(
    "lichtbuch_grpc_request_duration_seconds",
    "Duration of unary calls, and of streams until they end.",
    ("service", "method"),
    buckets=LATENCY_BUCKETS,
)
GRPC_IN_FLIGHT: Final = Gauge("lichtbuch_grpc_requests_in_flight", "Calls being worked on.", ("service", "method"))
GRPC_STREAMS: Final = Gauge("lichtbuch_grpc_streams_open", "Server streams that are open.")
GRPC_CLIENT_REQUESTS: Final = Counter(
    "lichtbuch_grpc_client_requests", "Finished calls to other services.", ("service", "method", "code")
)
GRPC_CLIENT_RETRIES: Final = Counter(
    "lichtbuch_grpc_client_retries", "Calls to other services that were tried again.", ("service", "method")
)
LOOP_RUNNING: Final = Gauge("lichtbuch_loop_up", "1 while a loop beats in time.", ("loop",))
LOOP_FAILURES: Final = Counter(
    "lichtbuch_loop_failures", "Exceptions that ended a loop; it is started again.", ("loop",)
)
LOOP_LAST_BEAT: Final = Gauge(
    "lichtbuch_loop_last_beat_timestamp_seconds", "Real time of a loop's last finished pass.", ("loop",)
)
HEALTHY: Final = Gauge("lichtbuch_health_check_up", "1 while a health check passes.", ("check",))
DATABASE_RETRIES: Final = Counter("lichtbuch_database_transaction_retries", "Transactions that were tried again.")
DATABASE_FAILURES: Final = Counter(
    "lichtbuch_database_failures", "Transactions that failed for good, by the reason.", ("reason",)
)
LEASE_HELD: Final = Gauge("lichtbuch_lease_held", "1 while this instance acts as the holder.", ("lease",))
LEASE_CUT_OFF: Final = Gauge(
    "lichtbuch_lease_cut_off", "1 while the lease is held without being able to renew it.", ("lease",)
)
LEASE_LOST: Final = Counter("lichtbuch_lease_lost", "Times another holder's newer epoch was seen.", ("lease",))
LEASE_OVERLAP: Final = Counter(
    "lichtbuch_lease_overlap_seconds",
    "Real seconds for which this instance went on while another one held the lease.",
    ("lease",),
)
ACCESS_STALE: Final = Counter(
    "lichtbuch_access_stale_answers", "Reads that were allowed on an access answer past its lifetime: registry away."
)
TOKENS_REFUSED: Final = Counter("lichtbuch_tokens_refused", "Bearer tokens that did not hold, by claim.", ("claim",))
CLOCK_SPEED: Final = Gauge("lichtbuch_clock_speed", "Domain seconds per real second.")
BUILD: Final = Info("lichtbuch_build", "Version of the software.")
