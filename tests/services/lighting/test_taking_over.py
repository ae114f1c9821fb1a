"""Who takes the field over works on it at once, however long the pause between two passes is."""

from dataclasses import replace

from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.lease import lease_for
from servicekit.server import Server
from servicekit.tenants import FixedTenants
from services.lighting.app import LEASE, fill
from services.lighting.settings import LightingSettings
from tests.services.lighting.fake_town import FakeTown
from tests.support.running import BINDINGS, TOWNS, access_from, authenticator_for
from tests.support.waiting import eventually


async def test_who_takes_the_field_over_does_not_rest_first(issuer, database_url, tmp_path):
    settings = LightingSettings(
        listen="127.0.0.1:0", metrics_listen="off", database_url=database_url, data_dir=tmp_path, drain_s=0.5,
        holder="second",
    )  # fmt: skip
    database = Database(database_url, "lighting", pool_size=4)
    folder = settings.own_dir if database.dialect == "sqlite" else tmp_path / "first"
    # Nobody renews it: it lasts for as long as the test may take.
    first = lease_for(LEASE, database, folder, holder="first", ttl_s=3600.0)
    assert await first.try_acquire()
    clock = SystemClock()
    server = Server(
        settings, authenticator=authenticator_for(issuer), access=access_from(BINDINGS), tenants=FixedTenants(TOWNS),
        database=database, clock=clock,
    )  # fmt: skip
    server.database_ready.set()
    # An hour between two passes, and a look at the lease twice a second.
    hourly = replace(settings.tuning, interval_s=3600.0)
    parts = await fill(server, settings, FakeTown(clock.now), hourly, lease_ttl_s=1.5)
    await server.start()
    try:
        await eventually(lambda: parts.state.at_ms > 0)  # a pass was made, and it rests
        assert (parts.control.holds_field, parts.control.settled_until_ms) == (False, 0)
        await first.release()
        await eventually(lambda: parts.control.settled_until_ms > 0)
    finally:
        await server.stop(0.2)
