"""A demonstration OpenID provider for one machine: known users, known passwords, loopback only.

It exists so that `make run` and the tests speak real OpenID Connect without a directory service. It is no part of the
registry service (nothing here imports it, nor the other way round) and never of a production system.
"""
