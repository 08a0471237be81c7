"""The gate's own API under `/api/v1`: one table of calls (`calls.py`), one file for each resource."""

from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.routes import api_routes

__all__ = ["ApiParts", "api_routes"]
