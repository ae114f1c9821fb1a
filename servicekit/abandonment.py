"""Transactions for which nobody waits any more: their statements are ended, and their connections not used again.

A caller who gives up (a deadline, a lost connection, a shutdown) frees no thread by that: the driver would go on with
its statement to the end. So the statement is ended from outside: SQLite by `sqlite3_interrupt`, PostgreSQL by a cancel
request. Both have no effect while no statement runs, so they are repeated until the transaction is over; and a further
statement of it is refused before it starts. Not here: transactions (database.py).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

_log = logging.getLogger(__name__)

AWAITED: Final = "lichtbuch_awaited"
"""Execution option of a connection: the `Awaited` of the transaction that uses it."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.02
_CANCEL_TIMEOUT_S: Final = 3.0


class Abandoned(Exception):
    """Nobody waits for the transaction any more: it must leave no trace."""


class Awaited:
    """Whether somebody waits for a transaction, and on which connection of a driver it is at work."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._is_given_up = False
        self._was_stopped = False
        self._driver: Any = None
        self._pause_s, self._next_s = _FIRST_PAUSE_S, 0.0

    @property
    def is_at_work(self) -> bool:
        """True while there is something to stop. Once nobody waits, what is not at work does not begin again."""
        return self._driver is not None

    def check(self) -> None:
        """Raises Abandoned if nobody waits any more."""
        if self._is_given_up:
            raise Abandoned

    def begin(self, driver: Any) -> None:
        """Work begins on a driver's connection. Raises Abandoned."""
        with self._turn:
            # In this order: who gives up says so first and looks for the driver then.
            self._driver, self._was_stopped = driver, False
            if self._is_given_up:
                self._driver = None
                raise Abandoned

    def settle(self) -> None:
        """All is done but the commit, which nobody stops: half of one would help nobody. Raises Abandoned."""
        with self._turn:
            self.check()
            self._driver = None

    def end(self) -> bool:
        """Work on the connection has ended. True if it was stopped from outside: a late stop could meet whoever has
        the connection next, so nobody is to have it."""
        with self._turn:
            self._driver = None
            return self._was_stopped

    def give_up(self) -> None:
        """Nobody waits any more. Does not wait for a stop that is under way."""
        self._is_given_up = True

    def stop(self) -> None:
        """Ends the statement that runs, if it is time to try that (again). Any thread may call this."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s, self._pause_s = now_s + self._pause_s, min(_LONGEST_PAUSE_S, self._pause_s * 2)
        with self._turn:
            if self._driver is not None:
                self._was_stopped = True
                _stop(self._driver)


class Ender:
    """Ends what is abandoned, in a thread that lives as long as there is something to end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()
        self._ending: list[Awaited] = []
        self._is_running = False

    def end(self, awaited: Awaited) -> None:
        """Sees to it that a transaction comes to its end. Does not wait."""
        awaited.give_up()
        if not awaited.is_at_work:
            return
        with self._turn:
            self._ending.append(awaited)
            if self._is_running:
                return
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError as error:
                # No thread is to be had at the moment: the next one that is abandoned tries again, for this one too.
                _log.error("an abandoned statement goes on to its end: %s", error)
            else:
                self._is_running = True

    def _run(self) -> None:
        while True:
            with self._turn:
                self._ending = [awaited for awaited in self._ending if awaited.is_at_work]
                if not self._ending:
                    self._is_running = False
                    return
                ending = list(self._ending)
            for awaited in ending:
                awaited.stop()
            time.sleep(_LOOK_EVERY_S)


def refuse_abandoned(engine: Engine) -> None:
    """Statements of a transaction for which nobody waits are refused before they start."""

    @event.listens_for(engine, "before_cursor_execute")
    def refuse(connection: Connection, *_: object) -> None:
        awaited = connection.get_execution_options().get(AWAITED)
        if awaited is not None:
            awaited.check()


def _stop(driver: Any) -> None:
    # A connection that is closed or lost needs no stopping, and is not what anybody waits for.
    with contextlib.suppress(Exception):
        if isinstance(driver, sqlite3.Connection):
            driver.interrupt()
        else:
            driver.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
