"""Reading meters' values as grid operators, loggers, spreadsheets and our own exports write them.

Offline: nothing here speaks to a service. `source.py` streams a file's rows, `stamps.py` makes instants of its times,
`amounts.py` numbers of its cells; `long_table.py`, `wide_table.py` and `mscons.py` know the layouts; `channel.py` is a
series with its meter, `taking.py` what becomes a reading of it, `bills.py` where amounts of months and years end;
`collect.py` holds a piece at a time; `declared.py` is what a person says of a file.
"""
