"""Reading inventories as towns have them: spreadsheets, CSV of any habit, GeoJSON, Shapefiles, JSON records.

Offline: nothing here speaks to a service. `tables.py` reads a file into rows of text with their line numbers,
`coordinates.py` finds out which coordinate system they are in, `mapping.py` which column means what, `luminaires.py`
turns rows into columns for lighting and refuses, line by line, what it cannot take.
"""
