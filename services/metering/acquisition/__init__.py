"""Acquisition: how readings come from the field and are kept until the database has them."""
