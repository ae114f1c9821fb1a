"""The registry's tables and queries. Everything here takes a session: the transaction is the caller's.

Rows stay inside; what goes in and out are the domain's types. Errors say what is wrong in the domain's words.
"""
