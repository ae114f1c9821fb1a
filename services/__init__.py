"""The services of Lichtbuch, one folder each. They never import each other: they speak gRPC."""
