"""A town of field devices: real Modbus TCP and OPC UA servers on loopback with lamps and meters behind them.

Everything here is synthetic. The register maps are written from the products' documents on their own, not derived from
fieldbus' profiles, so that an error in one of the two is seen when they meet.
"""
