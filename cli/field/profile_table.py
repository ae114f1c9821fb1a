"""A profile as the table of a manual: every point with its place, its type and what the raw number is multiplied by.

Beside each address stands the number that a manual which counts from 40001 prints for it, so that both can be compared
line by line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cli.field.display import Row, runs
from domain.level import DALI, DALI_LINEAR, PERCENT, PERMILLE, LevelScale
from fieldbus.format.formula import Formula
from fieldbus.format.numbering import numbers_printed
from fieldbus.profile import Conversion, ModbusPlace, ModelPlace, NodePlace, PointBinding, Profile, RawFormat, Table

_KINDS: Final = {"u": "uint", "i": "int", "f": "float", "bcd": "bcd"}
_LEVELS: Final[tuple[tuple[LevelScale, str], ...]] = (
    (PERCENT, "percent"),
    (PERMILLE, "permille"),
    (DALI, "dali_log"),
    (DALI_LINEAR, "dali_linear"),
)


def point_rows(profile: Profile) -> list[Row]:
    """All points, in the order of the file; one row per place."""
    return [row for name, binding in profile.points.items() for row in _rows(name, binding)]


def _rows(name: str, binding: PointBinding) -> Iterator[Row]:
    if binding.node is not None:
        yield _row(name, binding, _node(binding, binding.node), "", binding.node.variant, binding.conversion)
    if binding.modbus is not None:
        yield _modbus_row(name, binding, binding.modbus)
    alike: dict[ModelPlace, list[str]] = {}
    for model, found in binding.models:
        alike.setdefault(found, []).append(str(model))
    for found, models in alike.items():
        where = f"model {', '.join(models)}: {_formula(found.place.address)}"
        yield _row(name, binding, where, "", _type(found.place.format), found.conversion, found.place)


def _modbus_row(name: str, binding: PointBinding, place: ModbusPlace) -> Row:
    """What is read, and where it is written if that is elsewhere."""
    places: list[str] = []
    numbers: list[str] = []
    for formula, table, verb in (
        (place.address, place.table, ""),
        *((part, place.table, "plus ") for part in place.sum_addresses),
        (place.write_address, place.write_table, "written " if place.address is not None else ""),
    ):
        if formula is None or (verb == "written " and (formula, table) == (place.address, place.table)):
            continue
        places.append(f"{verb}{table.value} {_formula(formula)}")
        numbers.append(_numbers(binding, formula, table))
    kind = _type(place.format if place.address is not None else place.write_format)
    return _row(name, binding, "; ".join(places), "; ".join(numbers), kind, binding.conversion, place)


def _row(
    name: str,
    binding: PointBinding,
    address: str,
    number: str,
    kind: str,
    conversion: Conversion,
    place: ModbusPlace | None = None,
) -> dict[str, Any]:
    index = (
        None if binding.index_range is None else f"{binding.scope.value} {runs(range(_low(binding), _end(binding)))}"
    )
    return {
        "point": name,
        "index": index,
        "access": binding.direction.value.replace("_", "/"),
        "address": address,
        "in_a_manual": number,
        "type": kind,
        "raw": _conversion(conversion, place),
        "unit": binding.point.unit,
    }


def _low(binding: PointBinding) -> int:
    return binding.index_range[0] if binding.index_range is not None else 0


def _end(binding: PointBinding) -> int:
    return binding.index_range[1] + 1 if binding.index_range is not None else 1


def _numbers(binding: PointBinding, formula: Formula, table: Table) -> str:
    """The printed numbers of the first and the last index."""
    if not formula.factors:
        return numbers_printed(table, formula.constant)[0]
    ends = (formula.at(binding.scope, index) for index in (_low(binding), _end(binding) - 1))
    return " to ".join(numbers_printed(table, *ends))


def _formula(formula: Formula | None) -> str:
    if formula is None:
        return ""
    terms = [str(formula.constant)] if formula.constant or not formula.factors else []
    terms += [name if factor == 1 else f"{factor}*{name}" for name, factor in formula.factors]
    return " + ".join(terms)


def _node(binding: PointBinding, place: NodePlace) -> str:
    parts = [place.node] if binding.direction.readable else []
    if place.method is not None:
        parts.append(f"call {place.method.node}")
    elif binding.direction.writable and place.write_node and place.write_node != place.node:
        parts.append(f"written {place.write_node}" if parts else place.write_node)
    return "; ".join(parts) or place.node


def _type(form: RawFormat) -> str:
    if form.kind == "b":
        return "bit"
    if form.is_text:
        return f"string of {form.registers}"
    name = f"{_KINDS[form.kind]}{8 * form.size}"
    if form.bit >= 0:
        last = form.bit + form.bit_count - 1
        name = f"bit {form.bit} of {name}" if form.bit_count == 1 else f"bits {form.bit}-{last} of {name}"
    if form.size > 2 and form.word_order == "little":
        name += ", low word first"
    return f"{name}, low byte first" if form.byte_order == "little" else name


def _conversion(conversion: Conversion, place: ModbusPlace | None) -> str:
    """What becomes of the raw number, in the order in which it does."""
    parts: list[str] = []
    parts += [name for scale, name in _LEVELS if conversion.level_scale is scale]
    if conversion.curve:
        parts.append("curve")
    if conversion.scale != 1:
        parts.append(f"x {conversion.scale:.10g}")
    if place is not None and place.scale_factor is not None:
        factor = place.scale_factor
        parts.append(f"x 10^({factor.table.value} {_formula(factor.address)})")
    if conversion.offset:
        parts.append(f"{'+' if conversion.offset > 0 else '-'} {abs(conversion.offset):.10g}")
    return " ".join(parts)
