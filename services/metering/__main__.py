"""Starts metering: python -m services.metering."""

import sys

from servicekit.server import run_service
from servicekit.settings import load_settings
from services.metering.app import build
from services.metering.settings import MeteringSettings


def main() -> int:
    """Runs until SIGTERM. Returns the exit code."""
    settings = load_settings(MeteringSettings)
    return run_service(settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
