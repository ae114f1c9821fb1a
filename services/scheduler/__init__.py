"""The scheduler: dimming profiles and calendars; works out what level is due when, and hands plans ahead of time."""
