"""What lives as long as the process is left out of garbage collection. Not here: what it is, and when all is idle.

Collecting the oldest generation looks at each object there is: half a second for a town of 20 000 luminaires, in the
middle of whatever it does, as a switching instant makes just the objects that set it off. What is known of a town lives
until its inventory changes; set apart, it is looked at once per change, at a moment that is chosen.
"""

import gc
import time
from collections.abc import Callable
from typing import Final

_STEADY_S: Final = 2.0


class LongLived:
    """Sets apart what is there, once per state of it, when it has stood for a while and nothing urgent is done."""

    def __init__(self, steady_s: float = _STEADY_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        """steady_s: real seconds that a state has to stand, so that what it brings with it is there as well."""
        self._steady_s, self._monotonic = steady_s, monotonic
        self._state: object = None
        self._since = 0.0
        self._apart = True
        """Whether the state has been set apart; of no state there is nothing to set apart."""

    def look(self, state: object, *, idle: bool) -> bool:
        """To be called now and then with what is there, told apart by identity. Whether it was set apart now."""
        now = self._monotonic()
        if state is not self._state:
            self._state, self._since, self._apart = state, now, False
        if self._apart or not idle or now - self._since < self._steady_s:
            return False
        gc.unfreeze()  # what the state before has left behind is garbage now
        gc.collect()
        gc.freeze()
        self._apart = True
        return True
