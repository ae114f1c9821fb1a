"""The demonstration: a simulated town and all services on one machine, as `make run` shows them.

`layout.py` says which process runs with which settings, `seed.py` puts the town into the services by the same calls
that anybody makes, `status.py` prints what the town is doing, `__main__.py` hands it all to a Procfile runner.
"""
