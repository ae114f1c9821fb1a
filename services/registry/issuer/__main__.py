"""Starts the demonstration issuer: python -m services.registry.issuer --demonstration.

Without the flag it refuses to start: nobody shall run it in earnest by accident.
"""

import socket
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final

import uvicorn

from domain.errors import LichtbuchError
from servicekit.settings import load_settings
from services.registry.issuer.app import Parts, create_app
from services.registry.issuer.clients import load_service_clients
from services.registry.issuer.keys import SigningKey
from services.registry.issuer.settings import IssuerSettings

FLAG: Final = "--demonstration"
EXIT_REFUSED: Final = 2
EXIT_CANNOT_START: Final = 1
MAX_CONNECTIONS: Final = 200

_REFUSAL: Final = f"""This issuer gives out administrators' tokens for passwords that stand in its documentation.
It is for demonstrations on one machine only. If that is what you want, start it with {FLAG}."""


def main(arguments: Sequence[str]) -> int:
    """Runs until it is told to stop. Returns the exit code: 0 stopped, 1 cannot start, 2 refused."""
    if list(arguments) != [FLAG]:
        print(_REFUSAL, file=sys.stderr)
        return EXIT_REFUSED
    settings = load_settings(IssuerSettings)
    try:
        clients = load_service_clients(settings.client_secrets.get_secret_value(), settings.data_dir)
        key = SigningKey.load(settings.data_dir)
        listener = _listen(settings.host, settings.port)
    except (LichtbuchError, OSError) as error:
        print(f"the issuer cannot start: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    with closing(listener):
        issuer = issuer_url(settings.host, listener.getsockname()[1])
        app = create_app(Parts(issuer, key, clients))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, limit_concurrency=MAX_CONNECTIONS
        )
        print(f"demonstration issuer at {issuer}", flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def issuer_url(host: str, port: int) -> str:
    """The issuer's URL for an address that it listens at."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens before anything is printed: a taken port is told, port 0 is known, and nobody who reads
    the address is turned away because the server is still starting. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
