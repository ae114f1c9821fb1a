"""Checkpoints of a running ledger: signed in the transaction that appends, then written to the file outside.

The order is on purpose: a checkpoint in the file of a tree that was never committed would look like a log that lost
leaves. What a crash in between leaves out is written with the next one, at the start, or on request.
"""

import asyncio
import logging
from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel import Session

from domain.errors import Unavailable
from servicekit.clock import Clock
from servicekit.database import Database
from services.ledger.checkpoint import Checkpoint, sign
from services.ledger.entry import whole_milliseconds
from services.ledger.metrics import CHECKPOINT_FAILURES
from services.ledger.signing import CheckpointFiles
from services.ledger.store.log import add_checkpoint, checkpoint_at, checkpoints, lock_log, root_of

_log = logging.getLogger(__name__)


class Heads:
    """Signs and keeps tree heads. former_keys: public keys that signed earlier and are still trusted."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        key: Ed25519PrivateKey,
        files: CheckpointFiles,
        former_keys: Collection[bytes] = (),
    ) -> None:
        self._database, self._clock, self._key = database, clock, key
        self.files = files
        self.trusted_keys = frozenset({key.public_key().public_bytes_raw(), *former_keys})
        self._turns: dict[str, asyncio.Lock] = {}
        self._failures: dict[str, str] = {}

    def sign_newest(self, session: Session, origin: str) -> Checkpoint:
        """The checkpoint of the log as it is in this transaction, signed now if it was not before."""
        size = lock_log(session, origin)
        known = checkpoint_at(session, origin, size)
        if known is not None:
            return known
        signed_at = whole_milliseconds(self._clock.real())
        checkpoint = sign(self._key, origin, size, root_of(session, origin, size), signed_at)
        add_checkpoint(session, checkpoint)
        return checkpoint

    async def newest(self, origin: str) -> Checkpoint:
        """The newest checkpoint, which then stands in the file, too."""
        checkpoint = await self._database.run(lambda session: self.sign_newest(session, origin))
        await self.write(origin)
        return checkpoint

    async def write(self, origin: str) -> None:
        """Brings the file up to date. A disk that fails is told by `check`, not to whoever posted: the entry stands."""
        async with self._turns.setdefault(origin, asyncio.Lock()):
            try:
                known = await asyncio.to_thread(self.files.largest_size, origin)
                fresh = await self._database.read(lambda session: checkpoints(session, origin, larger_than=known))
                await asyncio.to_thread(self.files.append, origin, fresh)
            except OSError as error:
                _log.error("the checkpoint file of %s cannot be written: %s", origin, error)
                CHECKPOINT_FAILURES.inc()
                self._failures[origin] = error.strerror or str(error)
            else:
                self._failures.pop(origin, None)

    async def read_file(self, origin: str) -> tuple[list[Checkpoint], list[str]]:
        """What the checkpoint file holds, and what is wrong with its lines."""
        try:
            return await asyncio.to_thread(self.files.read, origin)
        except OSError as error:
            return [], [f"the checkpoint file cannot be read: {error.strerror}"]

    async def check(self) -> None:
        """Health: raises Unavailable while checkpoints do not reach the disk."""
        if self._failures:
            raise Unavailable(f"checkpoints cannot be written: {'; '.join(sorted(set(self._failures.values())))}")
