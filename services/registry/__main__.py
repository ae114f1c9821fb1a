"""Starts the registry: python -m services.registry."""

import sys

from servicekit.server import run_service
from servicekit.settings import load_settings
from services.registry.app import RegistrySettings, build


def main() -> int:
    """Runs until SIGTERM. Returns the exit code."""
    settings = load_settings(RegistrySettings)
    return run_service(settings, lambda: build(settings))


if __name__ == "__main__":
    sys.exit(main())
