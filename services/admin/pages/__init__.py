"""What people see: one module per part of the page. Nothing here knows gRPC; the parts show what town.py holds."""
