"""A running ledger as people see it: real gRPC, real tokens, a stepped clock, and a town with three metered nights."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from lichtbuch.ledger.v1 import ledger_pb2 as pb
from lichtbuch.ledger.v1 import ledger_pb2_grpc
from servicekit.access import Binding, Role
from servicekit.clock import SteppedClock
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from servicekit.server import Server
from services.ledger.app import furnish
from services.ledger.book import Book
from services.ledger.bundle import bundle_from_export
from services.ledger.heads import Heads
from services.ledger.signing import CheckpointFiles, load_or_create_key
from services.ledger.sources import Sources
from tests.services.ledger.helpers import TOWN, day_of, night_of
from tests.services.ledger.neighbours import Neighbours, channel_to
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, BINDINGS, HERSFELD, RunningService, access_from, running_service, settings_for
from tests.support.waiting import eventually

NIGHTS = (date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3))
PASS_EVERY_S = 1800.0
"""Half an hour: months go by faster, and all that is due is still seen in the hour."""
CONTRACTOR = "contractor"
PEOPLE = {**BINDINGS, CONTRACTOR: [Binding(Role.CONTRACTOR, HERSFELD.id, (f"{TOWN}/measures/led",))]}
FACTORS = pb.Factors(
    price_eur_per_kwh="0.2875", price_source="contract 2026", co2_g_per_kwh=363, co2_source="2024, UBA first estimate"
)


def lighting_measure(cabinets: Sequence[str], meters: Sequence[str] = (), **changes: Any) -> pb.Measure:
    """A measure over cabinets: by their meters where there are any, else by levels."""
    values: dict[str, Any] = {
        "display_name": "LED 2026",
        "method": pb.METHOD_OPTION_B if meters else pb.METHOD_OPTION_A,
        "effective_from": timestamp_to_proto(datetime(2026, 1, 1, tzinfo=UTC)),
        "meters": meters,
        "lighting": pb.LightingBaseline(cabinets=cabinets),
        "factors": FACTORS,
        "shares": [
            pb.Share(party="Bad Hersfeld", share_permille=700),
            pb.Share(party="Contractor", share_permille=300),
        ],
        **changes,
    }
    return pb.Measure(**values)


def building_measure(meter: str, **changes: Any) -> pb.Measure:
    """A building's measure against 400 kWh on weekdays and 200 kWh at weekends."""
    values: dict[str, Any] = {
        "display_name": "Town hall",
        "method": pb.METHOD_OPTION_C,
        "effective_from": timestamp_to_proto(datetime(2026, 1, 1, tzinfo=UTC)),
        "meters": [meter],
        "stated": pb.StatedBaseline(weekday_wh=[400_000] * 12, weekend_wh=[200_000] * 12, source="bills 2025"),
        "factors": FACTORS,
        **changes,
    }
    return pb.Measure(**values)


def post_request(measure: str, period: tuple[datetime, datetime], request_id: str = "") -> pb.PostEntryRequest:
    """A request to post a period of a measure."""
    start, end = period
    return pb.PostEntryRequest(
        parent=f"{TOWN}/measures/{measure}",
        start_time=timestamp_to_proto(start),
        end_time=timestamp_to_proto(end),
        request_id=request_id,
    )


@dataclass
class RunningLedger:
    """The service and everything around it."""

    running: RunningService
    database: Database
    book: Book
    heads: Heads
    clock: SteppedClock
    neighbours: Neighbours
    stubs: dict[str | None, Any] = field(default_factory=dict)

    def as_(self, subject: str | None = ADMIN) -> Any:
        """The ledger as a person sees it."""
        if subject not in self.stubs:
            self.stubs[subject] = ledger_pb2_grpc.LedgerServiceStub(self.running.channel(subject))
        return self.stubs[subject]

    @property
    def admin(self) -> Any:
        """The ledger as the administrator sees it."""
        return self.as_(ADMIN)

    async def create(self, measure: pb.Measure, measure_id: str = "led", **changes: Any) -> pb.Measure:
        """Creates a measure."""
        request = pb.CreateMeasureRequest(parent=TOWN, measure_id=measure_id, measure=measure, **changes)
        created: pb.Measure = await self.admin.CreateMeasure(request)
        return created

    async def metered_town(self, **changes: Any) -> pb.Measure:
        """A town with three metered nights, and the measure "led" over it by its meters."""
        cabinets, meters = self.neighbours.town([night_of(night)[0] for night in NIGHTS])
        return await self.create(lighting_measure(cabinets, meters, **changes))

    async def post(self, night: date = NIGHTS[0], measure: str = "led", request_id: str = "") -> pb.Entry:
        """Posts a night."""
        entry: pb.Entry = await self.admin.PostEntry(post_request(measure, night_of(night), request_id))
        return entry

    async def post_day(self, day: date, measure: str) -> pb.Entry:
        """Posts a local day."""
        entry: pb.Entry = await self.admin.PostEntry(post_request(measure, day_of(day)))
        return entry

    async def reverse(self, entry: pb.Entry, reason: str = "wrong meter") -> pb.Entry:
        """Reverses an entry."""
        reversal: pb.Entry = await self.admin.ReverseEntry(pb.ReverseEntryRequest(name=entry.name, reason=reason))
        return reversal

    async def bundle(self) -> list[str]:
        """The exported log as a bundle."""
        request = pb.ExportLogRequest(parent=TOWN, with_evidence=True)
        exported = [part async for part in self.admin.ExportLog(request)]
        return list(bundle_from_export(exported, TOWN))

    async def verify(self) -> pb.VerifyLogResponse:
        """What the server finds about its own log."""
        answer: pb.VerifyLogResponse = await self.admin.VerifyLog(pb.VerifyLogRequest(parent=TOWN))
        return answer

    @property
    def public_key(self) -> bytes:
        """The key that signs."""
        (key,) = self.heads.trusted_keys
        return key


@asynccontextmanager
async def running_ledger(
    database: Database, issuer: Issuer, clock: SteppedClock, neighbours: Neighbours, folder: Path
) -> AsyncIterator[RunningLedger]:
    """Starts a ledger; it closes the database at the end."""
    heads = Heads(database, clock, load_or_create_key(folder), CheckpointFiles(folder))
    channel = channel_to(neighbours)
    books: list[Book] = []

    def fill(server: Server) -> None:
        books.append(furnish(server, database, Sources(channel, channel), heads, pass_every_s=PASS_EVERY_S))

    async with running_service(
        issuer,
        fill,
        settings=settings_for("ledger", metrics_listen="off"),
        database=database,
        clock=clock,
        access=access_from(PEOPLE),
    ) as running:
        # Its first pass takes real time: whoever advances the clock during that one would have it miss all others.
        await eventually(lambda: clock.sleeping > 0)
        yield RunningLedger(running, database, books[0], heads, clock, neighbours)
    await channel.close()
