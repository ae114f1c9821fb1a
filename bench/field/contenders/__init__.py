"""One process per contender and run: it connects, proves its values, warms up, works, and prints one JSON object."""
