"""The audit trail: one record per change, in the transaction that makes the change. Who, when (both clocks), what, why.

Reading it over gRPC is audit_api.py. Nothing here updates or deletes a record.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from sqlalchemy import Column, Text
from sqlmodel import Field, Session, SQLModel

from domain.names import new_uid
from servicekit.clock import Clock, SystemClock
from servicekit.columns import BigKey, UtcDateTime
from servicekit.context import current_action, current_caller, current_request_id

State = Mapping[str, Any] | Message | SQLModel | None

_SECRETS: Final = ("secret", "password", "token", "private")
_LONGEST_STATE: Final = 100_000

_clock: Clock = SystemClock()


class AuditRecord(SQLModel, table=True):
    """A change. `sequence` grows in the order of storage; the newest is the largest."""

    __tablename__ = "audit_record"

    sequence: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True, autoincrement=True))
    uid: str = Field(unique=True)
    recorded_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    domain_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    municipality_uid: str
    actor: str
    actor_kind: str
    action: str
    resource: str
    resource_uid: str
    reason: str = Field(sa_column=Column(Text, nullable=False))
    request_id: str
    before_json: str = Field(sa_column=Column(Text, nullable=False))
    after_json: str = Field(sa_column=Column(Text, nullable=False))


def use_clock(clock: Clock) -> None:
    """Gives the trail the process's clock, once at start: records then carry its domain time."""
    global _clock
    _clock = clock


def record(
    session: Session,
    action: str,
    resource: str,
    resource_uid: str,
    municipality_uid: str,
    before: State = None,
    after: State = None,
    reason: str = "",
) -> None:
    """Adds a record to the session's transaction: it is stored if the change is, and only then.

    action: what was done, for instance "lighting.overrides.create"; empty for the method or loop that is running.
    before, after: the state as a mapping, a SQLModel row or a message; None for what was not or is no more.
    Raises NotAuthenticated where nobody is calling (a loop runs as its service).
    """
    caller = current_caller()
    session.add(
        AuditRecord(
            uid=new_uid(),
            recorded_at=_clock.real(),
            domain_at=_clock.now(),
            municipality_uid=municipality_uid,
            actor=caller.subject,
            actor_kind=caller.kind,
            action=action or current_action(),
            resource=resource,
            resource_uid=resource_uid,
            reason=reason,
            request_id=current_request_id(),
            before_json=state_json(before),
            after_json=state_json(after),
        )
    )


def state_json(state: State) -> str:
    """A state as JSON with sorted keys; empty for None. Secrets are left out, a state too large is cut to its size."""
    if state is None:
        return ""
    if isinstance(state, Message):
        plain: Mapping[str, Any] = MessageToDict(state, preserving_proto_field_name=True)
    elif isinstance(state, SQLModel):
        plain = state.model_dump()
    else:
        plain = state
    text = json.dumps(_presentable(plain), sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_as_text)
    if len(text) > _LONGEST_STATE:
        return json.dumps({"too_large": len(text)})
    return text


def _presentable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): "***" if any(word in str(key).lower() for word in _SECRETS) else _presentable(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_presentable(item) for item in value]
    return value


def _as_text(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)
