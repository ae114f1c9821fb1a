"""Who is logged in: sessions in the memory of this process, known to the browser by an unguessable id and nothing else.

A restart means to log in again. Not here: how a login goes (auth.py), cookies and addresses (web.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from domain.errors import NotAuthenticated
from servicekit.clock import Clock
from servicekit.logs import get_logger
from services.admin.auth import Login
from services.admin.clients import Clients
from services.admin.metrics import SESSIONS
from services.admin.settings import AdminSettings
from services.admin.town import Town

_log = get_logger(__name__)

MOST_TOWNS: Final = 20
"""With more, those that nobody looks at are forgotten."""


class PersonalToken:
    """A person's access token, until it ends or a service refuses it."""

    def __init__(self, login: Login, real: Callable[[], datetime]) -> None:
        self._login, self._real = login, real
        self.was_refused = False

    async def token(self) -> str:
        """The token. Raises NotAuthenticated where it has ended."""
        if self.has_ended:
            raise NotAuthenticated("the login has ended")
        return self._login.access_token

    def refused(self, token: str) -> bool:
        """A service did not take it: the person has to log in again."""
        self.was_refused = True
        return False

    @property
    def has_ended(self) -> bool:
        """True if nobody takes it any more."""
        return self.was_refused or self._real() >= self._login.ends_at


@dataclass(eq=False)
class Session:
    """One person in one browser."""

    key: str = field(repr=False)
    login: Login
    token: PersonalToken
    clients: Clients
    clock: Clock
    ends_at: datetime
    """Real time."""
    is_closed: bool = False
    left_from: str = ""
    """Client id of the page whose logout ended it: the browser is taking that page elsewhere by itself."""
    _towns: dict[str, Town] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True if the person has to log in again."""
        return self.is_closed or self.token.has_ended or self.clock.real() >= self.ends_at

    def town(self, name: str) -> Town:
        """A municipality as this person sees it; the same for all of the person's pages in this browser."""
        if name not in self._towns:
            if len(self._towns) >= MOST_TOWNS:
                self._towns = {name: town for name, town in self._towns.items() if town.is_watched}
            self._towns[name] = Town(name, self.clients, self.clock)
        return self._towns[name]

    async def close(self) -> None:
        """Ends its calls and connections; its pages notice."""
        self.is_closed = True
        for town in self._towns.values():
            town.stop()
        await self.clients.close()


class Sessions:
    """All sessions, by the hash of what the browser shows."""

    def __init__(self, settings: AdminSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._longest = timedelta(hours=settings.session_max_hours)
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, login: Login) -> tuple[Session, str]:
        """A new session, and the id for the browser. Always a new id: nobody can prepare one for somebody else."""
        self.sweep()
        while len(self._sessions) >= self._settings.max_sessions:
            self.end(next(iter(self._sessions.values())))
        shown = secrets.token_urlsafe(32)
        token = PersonalToken(login, self._clock.real)
        session = Session(
            key=_key(shown),
            login=login,
            token=token,
            clients=Clients(self._settings, token),
            clock=self._clock,
            ends_at=min(login.ends_at, self._clock.real() + self._longest),
        )
        self._sessions[session.key] = session
        SESSIONS.set(len(self._sessions))
        return session, shown

    def find(self, shown: str) -> Session | None:
        """The session of what a browser shows; None for none, or one that is over."""
        session = self._sessions.get(_key(shown)) if shown else None
        if session is not None and session.is_over:
            self.end(session)
            return None
        return session

    def end(self, session: Session, left_from: str = "") -> None:
        """Ends a session. `left_from` is the client id of the page on which the person has logged out."""
        session.left_from = left_from or session.left_from
        self._sessions.pop(session.key, None)
        SESSIONS.set(len(self._sessions))
        session.is_closed = True
        task = asyncio.ensure_future(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def sweep(self) -> None:
        """Ends what is over."""
        for session in [session for session in self._sessions.values() if session.is_over]:
            self.end(session)

    async def keep_swept(self, every_s: float = 30.0) -> None:
        """Sweeps for ever, so that a forgotten browser holds no connections."""
        while True:
            await asyncio.sleep(every_s)
            self.sweep()

    async def close(self) -> None:
        """Ends all of them."""
        for session in list(self._sessions.values()):
            self.end(session)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._sessions)


def _key(shown: str) -> str:
    return hashlib.sha256(shown.encode("utf-8", "surrogateescape")).hexdigest()
