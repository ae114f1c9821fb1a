"""The scheduler's tables and queries. Everything here takes a session: the transaction is the caller's.

Rows stay inside; what goes in and out are the types of records.py. Errors say what is wrong in the domain's words.
Profiles and calendars keep every revision they ever had, so that the origin of a plan can be traced.
"""
