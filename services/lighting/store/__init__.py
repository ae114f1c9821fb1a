"""Lighting's tables and queries, by theme."""
