"""Migrations of metering's schema, run by servicekit.migrations."""
