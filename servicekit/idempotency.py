"""Request ids: the same id again answers the first result, the same id with other content is refused.

The key is stored in the transaction of the change. Two calls with one id at once: the second waits for the first.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar, cast

from google.protobuf.message import Message
from sqlalchemy import CursorResult, LargeBinary, delete
from sqlmodel import Column, Field, Session, SQLModel

from domain.errors import Conflict, InvalidInput
from servicekit.columns import UtcDateTime, insert_ignore
from servicekit.context import current_action, current_caller

Answer = TypeVar("Answer", bound=Message)

KEEP: Final = timedelta(days=7)
"""How long (real time) an answer is remembered."""


class IdempotencyKey(SQLModel, table=True):
    """A request that was answered."""

    __tablename__ = "idempotency_key"

    subject: str = Field(primary_key=True)
    action: str = Field(primary_key=True)
    municipality_uid: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    request_hash: str
    answer: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


def once(
    session: Session,
    request: Message,
    answer_type: type[Answer],
    make: Callable[[], Answer],
    *,
    municipality_uid: str,
    real: datetime,
    request_id: str | None = None,
    content: bytes = b"",
) -> Answer:
    """Runs `make` the first time a request id is seen, and answers its result each further time.

    request_id: default is the request's field of that name; empty means that the client does not care, and `make` runs.
    content: what else makes the request what it is, for instance the further messages of a stream.
    real: the real instant, for forgetting old ids. Raises InvalidInput for a known id with other content.
    """
    key = getattr(request, "request_id", "") if request_id is None else request_id
    if not key:
        return make()
    digest = hashlib.sha256(request.SerializeToString(deterministic=True) + content).hexdigest()
    identity = (current_caller().subject, current_action(), municipality_uid, key)
    row = {
        "subject": identity[0],
        "action": identity[1],
        "municipality_uid": municipality_uid,
        "request_id": key,
        "request_hash": digest,
        "answer": None,
        "created_at": real,
    }
    if insert_ignore(session, IdempotencyKey, [row]):
        answer = make()
        session.flush()
        stored = session.get(IdempotencyKey, identity)
        if stored is None:
            raise Conflict("the request id vanished within its own transaction")
        stored.answer = answer.SerializeToString(deterministic=True)
        session.add(stored)
        return answer
    known = session.get(IdempotencyKey, identity)
    if known is None or known.answer is None:
        raise Conflict("the same request id is being worked on")
    if known.request_hash != digest:
        raise InvalidInput.of("request_id", "this id was used before, for a request with other content")
    return answer_type.FromString(known.answer)


def forget(session: Session, before: datetime) -> int:
    """Deletes ids older than an instant (real time). Returns how many."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.__table__.c.created_at < before)  # type: ignore[attr-defined]
    return cast("CursorResult[object]", session.connection().execute(statement)).rowcount
