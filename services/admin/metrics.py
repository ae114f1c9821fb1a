"""What the web UI counts beside what every gRPC client counts (servicekit/metrics.py). Labels are few and bounded."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CLIENTS: Final = Gauge("lichtbuch_admin_clients", "Pages that are open in a browser.")
SESSIONS: Final = Gauge("lichtbuch_admin_sessions", "People who are logged in.")
PAGE_LOADS: Final = Counter("lichtbuch_admin_page_loads", "Pages that were built, by page.", ("page",))
LOGINS: Final = Counter("lichtbuch_admin_logins", "Logins that ended, by outcome.", ("outcome",))
LAMP_UPDATES: Final = Counter("lichtbuch_admin_lamp_updates", "Lamps whose new state was sent to a browser.")
TICK_DURATION: Final = Histogram(
    "lichtbuch_admin_page_tick_duration_seconds",
    "Time to bring one open page up to date.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
CHANGES: Final = Counter(
    "lichtbuch_admin_changes", "What people asked to change, by kind and outcome.", ("kind", "outcome")
)
