"""Runs the migrations of a service as a job of its own: ``python -m servicekit.migrate registry``."""

import importlib.util
import re
import sys
from pathlib import Path

from domain.errors import LichtbuchError
from servicekit.database import open_database
from servicekit.settings import ServiceSettings, load_settings

EXIT_FAILED = 1
EXIT_USAGE = 2


def migrations_of(service: str) -> Path:
    """Folder of a service's migrations. Raises LookupError for a service that is not installed."""
    spec = importlib.util.find_spec(f"services.{service}") if re.fullmatch(r"[a-z]+", service) else None
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"there is no service {service!r}")
    return Path(next(iter(spec.submodule_search_locations))) / "migrations"


def main(arguments: list[str]) -> int:
    """Migrates and says so. Exit codes: 0 done, 1 the database failed, 2 wrong usage or settings."""
    if len(arguments) != 1:
        print("usage: python -m servicekit.migrate SERVICE", file=sys.stderr)
        return EXIT_USAGE
    try:
        location = migrations_of(arguments[0])
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return EXIT_USAGE

    class Settings(ServiceSettings):
        service = arguments[0]

    settings = load_settings(Settings)
    database = open_database(settings.resolved_database_url, settings.service, pool_size=1)
    try:
        database.migrate_now(location)
    except LichtbuchError as error:
        print(f"{settings.service}: {error}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        database.close_now()
    print(f"{settings.service}: the schema is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
