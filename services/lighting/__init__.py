"""Lighting: luminaires, groups and levels; brings every lamp to the level that is due and reports what it does."""
