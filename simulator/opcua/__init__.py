"""The simulated town's OPC UA side: one server per gateway of that kind, with an object per lamp."""
