"""The lighting benchmarks: sun, due levels, previews, all-on, each beside what people would do without us."""
