"""The one place where the ledger's settings become key, store, sources, book, loop and server."""

import base64
import binascii
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from lichtbuch.ledger.v1 import ledger_pb2_grpc
from servicekit.client import connect
from servicekit.database import Database
from servicekit.server import Server
from servicekit.settings import ServiceSettings
from servicekit.wiring import make_server, service_identity
from services.ledger.api import LedgerServicer
from services.ledger.book import Book
from services.ledger.checkpoint import PUBLIC_KEY_SIZE
from services.ledger.heads import Heads
from services.ledger.posting import MAX_SILENCE_S, PASS_EVERY_S, PostingLoop
from services.ledger.signing import CheckpointFiles, load_key, load_or_create_key
from services.ledger.sources import Sources

MIGRATIONS = Path(__file__).parent / "migrations"


class LedgerSettings(ServiceSettings):
    """What the ledger needs to know beyond what every service does."""

    service: ClassVar[str] = "ledger"

    ledger_signing_key: Path | None = None
    """PEM file with the Ed25519 key that signs checkpoints; default: one of its own in data_dir, made at first start.
    Several instances of one ledger need the same."""
    ledger_former_keys: list[str] = Field(default_factory=list)
    """Public keys (base64) that signed checkpoints earlier and are still trusted."""

    @field_validator("ledger_former_keys")
    @classmethod
    def _check_keys(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                size = len(base64.b64decode(value, validate=True))
            except binascii.Error:
                size = 0
            if size != PUBLIC_KEY_SIZE:
                raise ValueError("the base64 of 32 bytes is needed, an Ed25519 public key")
        return values


async def build(settings: LedgerSettings) -> Server:
    """The ledger, ready to start. Raises Unavailable without its database, FailedPrecondition without its key."""
    file = settings.ledger_signing_key
    key = load_or_create_key(settings.data_dir) if file is None else load_key(file)
    server = await make_server(settings, migrations=MIGRATIONS)
    if server.database is None:
        raise RuntimeError("the ledger is nothing without its database")
    identity = service_identity(settings, server.clock)
    lighting = connect(settings.lighting_address, settings, identity)
    metering = connect(settings.metering_address, settings, identity)
    server.on_stop(lighting.close)
    server.on_stop(metering.close)
    former = [base64.b64decode(value) for value in settings.ledger_former_keys]
    heads = Heads(server.database, server.clock, key, CheckpointFiles(settings.data_dir), former)
    furnish(server, server.database, Sources(lighting, metering), heads)
    return server


def furnish(
    server: Server, database: Database, sources: Sources, heads: Heads, *, pass_every_s: float = PASS_EVERY_S
) -> Book:
    """Puts the ledger into a server: the servicer, the posting loop, the check of the checkpoint file.

    pass_every_s: domain seconds between two looks at what is due.
    """
    book = Book(database, server.clock, sources, heads)
    server.add_servicer(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, LedgerServicer(book))
    loop = PostingLoop(book, server.tenants, server.clock, pass_every_s=pass_every_s)
    server.add_loop("posting", loop.run, MAX_SILENCE_S)
    server.add_check("checkpoint file", heads.check)
    return book
