"""The `lichtbuch` command: a gRPC client like any other, and offline tools over the libraries."""
