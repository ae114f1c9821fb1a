"""Which luminaires are reduced by something else than a command, and when, as the inventory says now."""

from __future__ import annotations

from sqlmodel import Session, col, select

from servicekit.context import Tenant
from services.lighting.own_reduction import OwnWindows, windows_of
from services.lighting.records import Reduction
from services.lighting.store.tables import FeederRow, LuminaireModelRow, LuminaireRow


def own_windows(session: Session, tenant: Tenant) -> dict[str, OwnWindows | None]:
    """Windows of the luminaires that no command reduces, by uid; None where nobody has said when."""
    feeders = {
        feeder.uid: feeder
        for feeder in session.exec(select(FeederRow).where(FeederRow.municipality_uid == tenant.uid))
        if not feeder.deleted_at_ms
    }
    lamp = LuminaireRow
    query = (
        select(lamp.uid, lamp.reduction, lamp.feeder_uid, lamp.model_uid)
        .where(lamp.municipality_uid == tenant.uid)
        .where(col(lamp.deleted_at_ms) == 0)
    )
    reducing = [feeder.uid for feeder in feeders.values() if feeder.reduction > Reduction.BROADCAST]
    query = query.where((col(lamp.reduction) > int(Reduction.BROADCAST)) | col(lamp.feeder_uid).in_(reducing))
    found = session.exec(query).all()
    wanted = {model_uid for _, _, _, model_uid in found if model_uid}
    profiles = {
        uid: profile
        for uid, profile in session.exec(select(LuminaireModelRow.uid, LuminaireModelRow.stored_profile))
        if uid in wanted
    }
    windows: dict[str, OwnWindows | None] = {}
    for uid, own, feeder_uid, model_uid in found:
        feeder = feeders.get(feeder_uid or "")
        reduction = own or (feeder.reduction if feeder else 0)
        if reduction <= Reduction.BROADCAST:
            continue
        windows[uid] = windows_of(
            reduction,
            feeder.reduced_from if feeder else "",
            feeder.reduced_until if feeder else "",
            feeder.reduced_power_permille if feeder else 0,
            profiles.get(model_uid or "", ()),
        )
    return windows
