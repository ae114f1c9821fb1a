"""The file format of device profiles: how a TOML file becomes points, places and limits, and what is refused."""
