"""Bytes in, events out: framing of what travels on the data port, without an event loop."""
