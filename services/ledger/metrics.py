"""The ledger's own metrics. Names follow Prometheus conventions; never a series per measure or town."""

from typing import Final

from prometheus_client import Counter, Gauge

from services.ledger.entry import EntryKind

ENTRIES: Final = Counter("lichtbuch_ledger_entries_posted", "Entries appended to a log, by kind.", ("kind",))
PERIODS_WAITING: Final = Gauge(
    "lichtbuch_ledger_periods_waiting", "Finished periods that are posted automatically and have no entry yet."
)
CHECKPOINT_FAILURES: Final = Counter(
    "lichtbuch_ledger_checkpoint_write_failures", "Times that the checkpoint file could not be written."
)
VERIFICATIONS: Final = Counter(
    "lichtbuch_ledger_verifications", "Verifications of a stored log, by whether it was right.", ("valid",)
)

for _kind in EntryKind:  # a series that begins at zero shows its first increase
    ENTRIES.labels(_kind.value)
for _valid in ("true", "false"):
    VERIFICATIONS.labels(_valid)
