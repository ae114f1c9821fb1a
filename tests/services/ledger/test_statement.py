"""A statement sums up what counts, and only that."""

from decimal import Decimal

from services.ledger.entry import EntryKind
from services.ledger.statement import state
from tests.services.ledger.helpers import town_log


def test_reversed_entries_and_their_reversals_are_left_out() -> None:
    log = town_log()
    reversed_uids = {entry.reverses_uid for entry in log.entries if entry.kind is EntryKind.REVERSAL}
    statement = state(log.entries, reversed_uids)
    counting = [e for e in log.entries if e.kind is EntryKind.SAVING and e.uid not in reversed_uids]
    assert statement.total.entries == len(counting) == 9
    assert statement.total.saved_wh == sum(entry.saved_wh for entry in counting)
    assert statement.total.saved_eur == sum(entry.saved_eur for entry in counting)
    assert statement.total.uncertainty_wh == sum(entry.uncertainty_wh for entry in counting)
    assert [line.entries for line in statement.lines.values()] == [3, 3, 3]
    assert sum(statement.shares.values()) == statement.total.saved_eur
    assert list(statement.shares) == ["Bad Hersfeld", "Contractor"]


def test_a_statement_over_nothing_is_zero() -> None:
    statement = state([], ())
    assert statement.total.entries == 0
    assert statement.total.saved_eur == Decimal("0.00")
    assert statement.lines == {}
