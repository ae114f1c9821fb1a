"""The store of metering: tables, queries and bulk means, each taking the session of a transaction. Not: what is
checked.

tables.py: SQLModel tables; bulk.py: the bulk means of both databases; partitions.py: months on PostgreSQL; lock.py: who
waits for whom.
What there is: meters.py, relations.py, lives.py, endpoints.py, exchanges.py (one register gives way to another),
heads.py and targets.py (where registers stand, what polling reads), deliveries.py, weather.py, findings.py.
Readings in: insertion.py is the one way into the table; ingest.py stores what is brought, polled.py what was polled,
gaps.py what was caught up, edits.py what people put right; neighbours.py and checks.py judge them by what is stored
around them, estimates.py fills what is missing, sum_checks.py compares trees of meters.
Readings out: readings.py and batches.py give them; figures.py, profiles.py and energy.py make amounts of them;
amounts.py takes the shortest way to that, by runs.py and by rollups.py, which rollup_build.py makes; feed.py tells what
was stored since; waste.py and finding_changes.py are the waste watch's.
"""
