"""What several parts share, pure: sun, levels and power, priorities, intervals, units, names, canonical bytes.

Nothing here speaks gRPC or SQL, opens a file or reads the domain clock: an instant is always an argument.
"""
