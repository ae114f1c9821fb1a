"""The first administrator: without one, nobody could give anybody a role."""

import logging

from sqlmodel import Session

from domain.names import WILDCARD, new_uid
from servicekit import audit
from servicekit.access import Caller, Role
from servicekit.clock import Clock
from servicekit.context import acting_as
from servicekit.database import Database
from services.registry.convert import binding_to_proto
from services.registry.roles import RoleBinding
from services.registry.store.bindings import add_binding, has_bindings

_log = logging.getLogger(__name__)


async def bind_first_administrator(database: Database, clock: Clock, subject: str) -> None:
    """Makes a subject administrator of every municipality, if nobody holds any role yet; else it changes nothing.

    An empty subject binds nobody. A setting that is left in place gives nobody rights that were taken away later.
    """

    def bind(session: Session) -> bool:
        if has_bindings(session):
            return False
        binding = RoleBinding(new_uid(), "", WILDCARD, subject, Role.ADMIN)
        add_binding(session, binding, clock.real())
        answer = binding_to_proto(binding)
        audit.record(
            session, "", answer.name, binding.uid, "", after=answer, reason="first start with an empty database"
        )
        return True

    if not subject:
        return
    with acting_as(Caller.of_service("registry"), action="bootstrap"):
        if await database.run(bind, serializable=True):
            _log.info("the first administrator of every municipality was bound")
