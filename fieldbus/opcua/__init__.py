"""Devices on OPC UA, on asyncua's client: sessions and their security, reading and writing, what is reported."""
