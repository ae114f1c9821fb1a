"""Starts the scheduler: python -m services.scheduler."""

import sys

from servicekit.server import run_service
from servicekit.settings import load_settings
from services.scheduler.app import SchedulerSettings, build


def main() -> int:
    """Runs until SIGTERM. Returns the exit code."""
    settings = load_settings(SchedulerSettings)
    return run_service(settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
