"""Addresses that follow from the index of a point: `7000*line + 100*gear + 15`.

Only linear formulas: every gateway map seen in the field is one, they can be checked at load over the whole index
range, and computed for thousands of points at once. What the index means is the vocabulary's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldbus.vocabulary import GEAR_PER_LINE, GROUPS_PER_LINE, Scope

# The variables a formula may use, by the scope of its point.
VARIABLES: Mapping[Scope, frozenset[str]] = {
    Scope.DEVICE: frozenset(),
    Scope.LINE: frozenset({"index", "line"}),
    Scope.GROUP: frozenset({"index", "line", "group"}),
    Scope.GEAR: frozenset({"index", "line", "gear"}),
    Scope.CHANNEL: frozenset({"index", "channel"}),
}

_INDEXES_TRIED = 1024
_LARGEST_FACTOR = 0xFFFF_FFFF
_TERM = re.compile(r"(?:(?P<factor>0[xX][0-9a-fA-F]+|\d+)\s*(?:\*\s*(?P<of>[a-z]+))?|(?P<name>[a-z]+))\Z")


@dataclass(frozen=True, slots=True)
class Formula:
    """constant + sum(factor * variable)."""

    constant: int
    factors: tuple[tuple[str, int], ...] = field(default=())

    @classmethod
    def parse(cls, text: int | str, scope: Scope) -> Formula:
        """A formula out of an integer or of terms joined by '+'. Raises ValueError with the reason."""
        if isinstance(text, bool) or not isinstance(text, int | str):
            raise ValueError(f"{text!r} is neither an address nor a formula")
        if isinstance(text, int):
            return cls(text)
        constant = 0
        factors: dict[str, int] = {}
        for term in text.split("+"):
            match = _TERM.match(term.strip())
            if match is None:
                raise ValueError(f"'{term.strip()}' in '{text}' is not a number, a variable or number*variable")
            name = match["of"] or match["name"]
            factor = int(match["factor"], 0) if match["factor"] else 1
            if factor > _LARGEST_FACTOR:
                raise ValueError(f"a number in it is larger than {_LARGEST_FACTOR}")
            if name is None:
                constant += factor
                continue
            if name not in VARIABLES[scope]:
                allowed = ", ".join(sorted(VARIABLES[scope])) or "none"
                raise ValueError(f"'{name}' in '{text}' is no variable of a {scope.value} point (allowed: {allowed})")
            factors[name] = factors.get(name, 0) + factor
        return cls(constant, tuple(factors.items()))

    def shifted(self, by: int) -> Formula:
        """The same formula, `by` addresses further on."""
        return Formula(self.constant + by, self.factors)

    def at(self, scope: Scope, index: int | None) -> int:
        """The address for one index."""
        if not self.factors:
            return self.constant
        values = index_variables(scope, index)
        return self.constant + sum(factor * values[name] for name, factor in self.factors)


def telling_indexes(first: int, last: int) -> list[int]:
    """Indexes of a range by which names made of them show whether they differ: enough for several lines, and the end.
    To try out tens of thousands takes seconds, in which nobody else has a turn."""
    tried = list(range(first, min(last, first + _INDEXES_TRIED - 1) + 1))
    return tried if tried[-1] == last else [*tried, last]


def index_variables(scope: Scope, index: int | None) -> dict[str, int]:
    """What each variable is worth for one index of a scope."""
    if index is None:
        return {}
    match scope:
        case Scope.GEAR:
            return {"index": index, "line": index // GEAR_PER_LINE, "gear": index % GEAR_PER_LINE}
        case Scope.GROUP:
            return {"index": index, "line": index // GROUPS_PER_LINE, "group": index % GROUPS_PER_LINE}
        case Scope.LINE:
            return {"index": index, "line": index}
        case Scope.CHANNEL:
            return {"index": index, "channel": index}
        case Scope.DEVICE:
            return {}
