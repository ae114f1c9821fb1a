"""The one way by which readings get into the table, with what is kept about them in the same transaction."""

from __future__ import annotations

from sqlmodel import Session

from services.metering.reading import Readings
from services.metering.store import feed, rollups, runs
from services.metering.store.bulk import insert_new


def insert(session: Session, ordered: Readings, batch_id: int) -> bool:
    """Inserts readings, in order of register and slot, of which none is stored yet as far as anybody knows; lengthens
    and cuts runs, and marks the days and months that are to be made anew.

    False if another transaction was quicker with one of them: then nothing is stored, and the caller looks again. From
    here to the commit there is one writer at a time: what others have stored is seen, and counted in.
    """
    if not insert_new(session, ordered, batch_id):
        return False
    feed.hold(session)
    runs.note(session, ordered)
    rollups.mark(session, ordered)
    return True
