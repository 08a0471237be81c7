"""Narrowgate: the narrow gate in front of a Kubernetes API server."""

__version__ = "0.1.0.dev0"
