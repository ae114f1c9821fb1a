"""The simulated town's Modbus TCP side: a lean server and the register maps of its devices."""
