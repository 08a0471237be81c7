"""Who is asking: one port, several ways to prove it. `port.py` is the contract, each other file one way."""
