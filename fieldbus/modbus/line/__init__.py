"""Connections of Modbus: frames and transports, and whose turn it is on what several units share."""
