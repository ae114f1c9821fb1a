"""Between the ledger's domain types and its contract. Nothing is decided here but the contract's own defaults."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from domain.errors import InvalidInput
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from servicekit.context import Tenant
from servicekit.convert import timestamp_to_proto
from services.ledger.checkpoint import Checkpoint
from services.ledger.entry import ENTRY_SCHEMA, EntryKind
from services.ledger.split import money_text
from services.ledger.statement import Line, Statement
from services.ledger.store.entries import StoredEntry
from services.ledger.store.measures import StoredMeasure
from services.ledger.terms import Factors, LightingTerms, Method, Share, StatedTerms, Terms

DEFAULT_HALF_NIGHT_OFF: Final = "22:30"
DEFAULT_LIGHTING_UNCERTAINTY_PERMILLE: Final = 50
DEFAULT_STATED_UNCERTAINTY_PERMILLE: Final = 100

_METHODS: Final[Mapping[pb.Method.ValueType, Method]] = {
    pb.METHOD_OPTION_A: Method.OPTION_A,
    pb.METHOD_OPTION_B: Method.OPTION_B,
    pb.METHOD_OPTION_C: Method.OPTION_C,
}
_KINDS: Final[Mapping[EntryKind, pb.EntryKind.ValueType]] = {
    EntryKind.SAVING: pb.ENTRY_KIND_SAVING,
    EntryKind.REVERSAL: pb.ENTRY_KIND_REVERSAL,
}


def method_from_proto(value: pb.Method.ValueType) -> Method:
    """A method. Raises InvalidInput for one that is not known."""
    if value not in _METHODS:
        raise InvalidInput.of("method", f"{value} is not a method")
    return _METHODS[value]


def factors_from_proto(factors: pb.Factors) -> Factors:
    """Factors; their form was checked by the rules of the contract."""
    return Factors(
        price_eur_per_kwh=Decimal(factors.price_eur_per_kwh),
        price_source=factors.price_source,
        co2_g_per_kwh=factors.co2_g_per_kwh,
        co2_source=factors.co2_source,
    )


def shares_from_proto(shares: Sequence[pb.Share], tenant: Tenant) -> tuple[Share, ...]:
    """Shares; none means all to the municipality. Raises InvalidInput for a party that occurs twice."""
    if not shares:
        return (Share(tenant.display_name or tenant.name, 1000),)
    parties = [share.party for share in shares]
    for index, party in enumerate(parties):
        if party in parties[:index]:
            raise InvalidInput.of(f"shares[{index}].party", f"{party!r} occurs twice")
    return tuple(Share(share.party, share.share_permille) for share in shares)


def stated_from_proto(stated: pb.StatedBaseline) -> StatedTerms:
    """A stated baseline. Raises InvalidInput."""
    return StatedTerms(
        weekday_wh=tuple(stated.weekday_wh),
        weekend_wh=tuple(stated.weekend_wh),
        uncertainty_permille=stated.uncertainty_permille or DEFAULT_STATED_UNCERTAINTY_PERMILLE,
        source=stated.source,
    )


def definition_of(given: pb.Measure, terms: Terms, terms_hash: str) -> pb.Measure:
    """The measure as it is stored and answered: what was given, with defaults and what the server adds."""
    measure = pb.Measure(
        name=terms.measure,
        uid=terms.measure_uid,
        display_name=given.display_name,
        description=given.description,
        method=given.method,
        effective_from=timestamp_to_proto(terms.effective_from),
        meters=[meter.name for meter in terms.meters],
        factors=given.factors,
        shares=[pb.Share(party=share.party, share_permille=share.share_permille) for share in terms.shares],
        post_automatically=given.post_automatically,
        terms_hash=terms_hash,
    )
    if isinstance(terms.baseline, LightingTerms):
        lighting = terms.baseline
        measure.lighting.cabinets.extend(lighting.cabinets)
        measure.lighting.half_night_off = lighting.half_night_off
        measure.lighting.half_night_on = lighting.half_night_on
        measure.lighting.uncertainty_permille = lighting.uncertainty_permille
        measure.lighting.luminaire_count = len(lighting.inventory)
        measure.lighting.power_w = lighting.previous_w
    else:
        measure.stated.CopyFrom(given.stated)
        measure.stated.uncertainty_permille = terms.baseline.uncertainty_permille
    return measure


def measure_to_proto(measure: StoredMeasure, tenant: Tenant) -> pb.Measure:
    """A measure under the name that its municipality bears today."""
    answer = pb.Measure.FromString(measure.definition)
    answer.name = f"{tenant.name}/measures/{measure.measure_id}"
    answer.created_at.CopyFrom(timestamp_to_proto(measure.created_at))
    return answer


def entry_to_proto(stored: StoredEntry) -> pb.Entry:
    """An entry with its place in the log."""
    entry = stored.entry
    return pb.Entry(
        name=entry.name,
        uid=entry.uid,
        kind=_KINDS[entry.kind],
        start_time=timestamp_to_proto(entry.start),
        end_time=timestamp_to_proto(entry.end),
        actual_wh=entry.actual_wh,
        baseline_wh=entry.baseline_wh,
        saved_wh=entry.saved_wh,
        full_level_reference_wh=entry.full_level_reference_wh,
        saved_eur=money_text(entry.saved_eur),
        avoided_co2_g=entry.avoided_co2_g,
        uncertainty_wh=entry.uncertainty_wh,
        coverage_permille=entry.coverage_permille,
        estimated_permille=entry.estimated_permille,
        provisional=entry.provisional,
        shares=[pb.PartyAmount(party=part.party, amount_eur=money_text(part.amount_eur)) for part in entry.shares],
        reason=entry.reason,
        reverses=entry.reverses,
        reversed_by=stored.reversed_by,
        evidence=entry.evidence,
        posted_by=entry.posted_by,
        posted_at=timestamp_to_proto(entry.posted_at),
        leaf_index=stored.leaf_index,
        leaf_hash=stored.leaf_hash.hex(),
        schema_version=ENTRY_SCHEMA,
        computation=entry.computation,
    )


def checkpoint_to_proto(checkpoint: Checkpoint) -> pb.Checkpoint:
    """A checkpoint."""
    return pb.Checkpoint(
        origin=checkpoint.origin,
        tree_size=checkpoint.tree_size,
        root_hash=checkpoint.root_hash,
        signed_at=timestamp_to_proto(checkpoint.signed_at),
        note=checkpoint.note,
        signature=checkpoint.signature,
        public_key=checkpoint.public_key,
    )


def line_to_proto(line: Line, measure: str, display_name: str) -> pb.StatementLine:
    """A line of a statement."""
    return pb.StatementLine(
        measure=measure,
        display_name=display_name,
        entries=line.entries,
        actual_wh=line.actual_wh,
        baseline_wh=line.baseline_wh,
        saved_wh=line.saved_wh,
        saved_eur=money_text(line.saved_eur),
        avoided_co2_g=line.avoided_co2_g,
        uncertainty_wh=line.uncertainty_wh,
    )


def shares_to_proto(statement: Statement) -> list[pb.PartyAmount]:
    """Money per party."""
    return [pb.PartyAmount(party=party, amount_eur=money_text(part)) for party, part in statement.shares.items()]
