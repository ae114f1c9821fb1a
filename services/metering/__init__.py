"""Metering: reads the meters of a town, stores every quarter hour once, and answers what was used."""
