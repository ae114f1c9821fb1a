"""The terms of a measure: all that its savings are computed from besides what was measured. Frozen when it is created.

Pure. Their bytes are evidence of every entry. Powers are integer milliwatts and positions integer 1e-7 degrees, since
hashed documents hold no floating point. Not here: where the inventory comes from (freezing.py) and the arithmetic.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from domain.canonical import document, read_document
from domain.errors import InvalidInput
from services.ledger.fields import Fields
from services.ledger.split import check_shares

TERMS_KIND: Final = "lichtbuch.ledger.terms"
TERMS_SCHEMA: Final = 1
MONTHS: Final = 12

_RANGES: Final = (
    ("cabinet_indexes", 0, 1_000_000),
    ("latitudes_e7", -900_000_000, 900_000_000),
    ("longitudes_e7", -1_800_000_000, 1_800_000_000),
    ("previous_mw", 0, 10_000_000),
    ("rated_mw", 0, 10_000_000),
)
"""What the columns of an inventory may hold: powers up to 10 kW, so that sums stay within 64 bits."""


class Method(Enum):
    """How the saving is determined, after the options of the IPMVP."""

    OPTION_A = "A"
    """Levels and lit hours are measured, the watts of the models stipulated."""
    OPTION_B = "B"
    """The meters of what was changed."""
    OPTION_C = "C"
    """The whole facility's meters."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What energy costs (EUR per kWh, avoidable part) and emits (g CO2 per kWh), each with its source."""

    price_eur_per_kwh: Decimal
    price_source: str
    co2_g_per_kwh: int
    co2_source: str


@dataclass(frozen=True, slots=True)
class Share:
    """A party's share of the money saved in per mille."""

    party: str
    share_permille: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Standard uncertainties (68 % confidence) in per mille, frozen so that later rules change no earlier entry.

    metering: of an electricity meter's energy. Class B of the Measuring Instruments Directive allows 1 %; an error
    taken as uniform within its limits has the standard deviation limit / sqrt(3) (GUM, JCGM 100:2008, 4.3.7): 5.8 per
    mille, rounded up. stipulated: of energy computed from levels with the models' power curves, as of the baseline's
    watts. estimated: of energy that was estimated or stood in for: uniform between nothing and twice the amount.
    """

    metering_permille: int = 6
    stipulated_permille: int = 50
    estimated_permille: int = 577


@dataclass(frozen=True, slots=True)
class MeterRef:
    """A meter of the measure: its name and uid then, and the cabinet that it measures (empty for a building's)."""

    name: str
    uid: str
    cabinet: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The frozen luminaires in columns: element i of every column belongs to luminaire i.

    cabinet_indexes: into the baseline's cabinets. previous_mw: lamp and ballast before the measure. rated_mw: rated
    power of what stands there now, 0 for unknown. half_night: off for part of the night before the measure.
    """

    names: tuple[str, ...]
    uids: tuple[str, ...]
    cabinet_indexes: tuple[int, ...]
    latitudes_e7: tuple[int, ...]
    longitudes_e7: tuple[int, ...]
    previous_mw: tuple[int, ...]
    rated_mw: tuple[int, ...]
    half_night: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len({len(column) for column in asdict_columns(self).values()}) != 1:
            raise InvalidInput.of("inventory", "the columns have different lengths")
        for name, least, most in _RANGES:
            column: tuple[int, ...] = getattr(self, name)
            if column and not least <= min(column) <= max(column) <= most:
                raise InvalidInput.of(f"inventory.{name}", f"a value is not between {least} and {most}")

    def __len__(self) -> int:
        return len(self.uids)


def asdict_columns(inventory: Inventory) -> dict[str, Sequence[Any]]:
    """The columns by name."""
    return {name: getattr(inventory, name) for name in Inventory.__slots__}


@dataclass(frozen=True, slots=True)
class LightingTerms:
    """Baseline of a lighting measure: the operation before it.

    Clock times "HH:MM"; half_night_on is empty where half-night lamps stayed off until the next dusk.
    """

    cabinets: tuple[str, ...]
    half_night_off: str
    half_night_on: str
    uncertainty_permille: int
    inventory: Inventory

    @property
    def previous_w(self) -> int:
        """Lamp and ballast watts with all luminaires lit, rounded."""
        return (sum(self.inventory.previous_mw) + 500) // 1000


@dataclass(frozen=True, slots=True)
class StatedTerms:
    """Baseline of a building as stated: Wh per local day for January..December, on weekdays and at weekends."""

    weekday_wh: tuple[int, ...]
    weekend_wh: tuple[int, ...]
    uncertainty_permille: int
    source: str

    def __post_init__(self) -> None:
        for name in ("weekday_wh", "weekend_wh"):
            values: tuple[int, ...] = getattr(self, name)
            if len(values) != MONTHS:
                raise InvalidInput.of(name, f"{len(values)} numbers, 12 are needed: one per month")
            if any(value < 0 for value in values):
                raise InvalidInput.of(name, "a use is negative")
        if not any(self.weekday_wh) and not any(self.weekend_wh):
            raise InvalidInput.of("weekday_wh", "the stated use is nothing at all")


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that is frozen of a measure. `time_zone` is an IANA name; `effective_from` is domain time in UTC."""

    municipality_uid: str
    measure_uid: str
    measure: str
    display_name: str
    method: Method
    effective_from: datetime
    time_zone: str
    factors: Factors
    shares: tuple[Share, ...]
    meters: tuple[MeterRef, ...]
    baseline: LightingTerms | StatedTerms
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        check_shares([share.share_permille for share in self.shares])
        check_method(self.method, isinstance(self.baseline, LightingTerms), bool(self.meters))

    @property
    def is_lighting(self) -> bool:
        """True for lighting: periods are lighting nights. False for buildings: periods are local days."""
        return isinstance(self.baseline, LightingTerms)


def check_method(method: Method, lighting: bool, metered: bool) -> None:
    """Raises InvalidInput unless the method fits its baseline and has the meters it needs."""
    if lighting == (method is Method.OPTION_C):
        kind = "a lighting baseline" if lighting else "a stated baseline"
        raise InvalidInput.of(
            "method", f"option {method.value} does not go with {kind}: A and B are lighting, C is stated"
        )
    if method is Method.OPTION_A and metered:
        raise InvalidInput.of("meters", "option A computes from levels: it has no meters")
    if method is not Method.OPTION_A and not metered:
        raise InvalidInput.of("meters", f"option {method.value} needs the meters that measure it")


def terms_bytes(terms: Terms) -> bytes:
    """The canonical bytes of terms."""
    body: dict[str, object] = {
        "municipality_uid": terms.municipality_uid,
        "measure_uid": terms.measure_uid,
        "measure": terms.measure,
        "display_name": terms.display_name,
        "method": terms.method,
        "effective_from": terms.effective_from,
        "time_zone": terms.time_zone,
        "factors": asdict(terms.factors),
        "shares": [asdict(share) for share in terms.shares],
        "meters": [asdict(meter) for meter in terms.meters],
        "rules": asdict(terms.rules),
    }
    if isinstance(terms.baseline, LightingTerms):
        lighting = terms.baseline
        body["lighting"] = {
            "cabinets": lighting.cabinets,
            "half_night_off": lighting.half_night_off,
            "half_night_on": lighting.half_night_on,
            "uncertainty_permille": lighting.uncertainty_permille,
            "inventory": asdict_columns(lighting.inventory),
        }
    else:
        body["stated"] = asdict(terms.baseline)
    return document(TERMS_KIND, TERMS_SCHEMA, body)


def read_terms(data: bytes) -> Terms:
    """Terms from their canonical bytes. Raises InvalidInput for anything but bytes that `terms_bytes` writes."""
    schema, body = read_document(data, TERMS_KIND)
    if schema != TERMS_SCHEMA:
        raise InvalidInput.of("terms.schema", f"version {schema} is not known here")
    fields = Fields(body, "terms")
    factors, rules = fields.inner("factors"), fields.inner("rules")
    try:
        method = Method(fields.text("method"))
    except ValueError:
        raise InvalidInput.of("terms.method", "the method is not known") from None
    terms = Terms(
        municipality_uid=fields.text("municipality_uid"),
        measure_uid=fields.text("measure_uid"),
        measure=fields.text("measure"),
        display_name=fields.text("display_name"),
        method=method,
        effective_from=fields.instant("effective_from"),
        time_zone=fields.text("time_zone"),
        factors=read_factors(factors),
        shares=read_shares(fields.inners("shares")),
        meters=tuple(
            MeterRef(meter.text("name"), meter.text("uid"), meter.text("cabinet")) for meter in fields.inners("meters")
        ),
        baseline=_read_lighting(fields.inner("lighting"))
        if "lighting" in body
        else read_stated(fields.inner("stated")),
        rules=Rules(
            metering_permille=rules.integer("metering_permille", 0),
            stipulated_permille=rules.integer("stipulated_permille", 0),
            estimated_permille=rules.integer("estimated_permille", 0),
        ),
    )
    fields.done()
    rules.done()
    return terms


def read_factors(fields: Fields) -> Factors:
    """Factors from an object of a document."""
    factors = Factors(
        price_eur_per_kwh=fields.decimal("price_eur_per_kwh"),
        price_source=fields.text("price_source"),
        co2_g_per_kwh=fields.integer("co2_g_per_kwh", 0),
        co2_source=fields.text("co2_source"),
    )
    fields.done()
    return factors


def read_shares(parties: Sequence[Fields]) -> tuple[Share, ...]:
    """Shares from the objects of a document."""
    shares = []
    for party in parties:
        shares.append(Share(party.text("party"), party.integer("share_permille", 0)))
        party.done()
    return tuple(shares)


def read_stated(fields: Fields) -> StatedTerms:
    """A stated baseline from an object of a document."""
    stated = StatedTerms(
        weekday_wh=fields.integers("weekday_wh"),
        weekend_wh=fields.integers("weekend_wh"),
        uncertainty_permille=fields.integer("uncertainty_permille", 0),
        source=fields.text("source"),
    )
    fields.done()
    return stated


def _read_lighting(fields: Fields) -> LightingTerms:
    columns = fields.inner("inventory")
    inventory = Inventory(
        names=columns.texts("names"),
        uids=columns.texts("uids"),
        cabinet_indexes=columns.integers("cabinet_indexes"),
        latitudes_e7=columns.integers("latitudes_e7"),
        longitudes_e7=columns.integers("longitudes_e7"),
        previous_mw=columns.integers("previous_mw"),
        rated_mw=columns.integers("rated_mw"),
        half_night=columns.flags("half_night"),
    )
    columns.done()
    lighting = LightingTerms(
        cabinets=fields.texts("cabinets"),
        half_night_off=fields.text("half_night_off"),
        half_night_on=fields.text("half_night_on"),
        uncertainty_permille=fields.integer("uncertainty_permille", 0),
        inventory=inventory,
    )
    fields.done()
    return lighting
