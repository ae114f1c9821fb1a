"""Side-by-side benchmarks: what ours costs against a peer, on the same work in the same run. Ratios, not seconds."""
