"""The commissioning engineer's tools: what `lichtbuch field` does. The command line itself is cli/commands/field.py."""
