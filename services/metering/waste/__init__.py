"""Waste watch: what a building uses that it need not, and what becomes of a finding."""
