"""Request ids of forms: the same wish sent again after no answer is the same request, and is carried out once."""

from __future__ import annotations

from domain.names import new_uid


class RequestIds:
    """Gives each wish of one form an id."""

    def __init__(self) -> None:
        self._wish: object = None
        self._id = ""

    def of(self, wish: object) -> str:
        """The id of a wish, by its content: the one of before where the same was wished and nobody answered."""
        if wish != self._wish:
            self._wish, self._id = wish, new_uid()
        return self._id

    def answered(self) -> None:
        """Whatever is wished next is another request, even if it reads the same."""
        self._wish = None
