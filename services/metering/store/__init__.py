"""The store of metering: tables, queries and bulk means, each taking the session of a transaction. Not: what is
checked.

tables.py: SQLModel tables. meters.py, lives.py, endpoints.py: rows of the inventory. readings.py: reading readings;
ingest.py: storing them once; bulk.py: the bulk means of both databases; partitions.py: months on PostgreSQL; feed.py:
what was stored since.
"""
