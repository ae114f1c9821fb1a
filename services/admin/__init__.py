"""The web UI: shows a town and changes it, as a gRPC client with the user's own token. It has no database."""
