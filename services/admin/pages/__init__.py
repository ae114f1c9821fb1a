"""What people see: one module per part of a page. Nothing here opens a connection; parts show what town.py holds."""
