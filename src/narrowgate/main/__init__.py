"""Wiring: a configuration becomes a running gate. `workers.py` makes processes, `worker.py` what runs in each."""

from narrowgate.main.workers import serve

__all__ = ["serve"]
