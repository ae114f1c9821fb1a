"""Devices on Modbus: what is asked, how answers become values, how commands go out. Connections: line/."""
