"""Starts the ledger: python -m services.ledger."""

import sys

from servicekit.server import run_service
from servicekit.settings import load_settings
from services.ledger.app import LedgerSettings, build


def main() -> int:
    """Runs until SIGTERM. Returns the exit code."""
    settings = load_settings(LedgerSettings)
    return run_service(settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
