"""The metering benchmarks: ingest, month sums, batches over gRPC, the way from the field, each beside a peer."""
