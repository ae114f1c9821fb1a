"""Starts lighting: python -m services.lighting."""

import sys

from servicekit.server import run_service
from servicekit.settings import load_settings
from services.lighting.app import build
from services.lighting.settings import LightingSettings


def main() -> int:
    """Runs until SIGTERM. Returns the exit code."""
    settings = load_settings(LightingSettings)
    return run_service(settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
