"""All calls of the API, in one table: from it come the routes, the rights asked for, the checks, and OpenAPI."""

from __future__ import annotations

from narrowgate.control.api.calls import Call
from narrowgate.control.api.table_access import ACCESS
from narrowgate.control.api.table_answers import ANSWERS
from narrowgate.control.api.table_record import RECORD
from narrowgate.control.api.table_who import WHO

CALLS: tuple[Call, ...] = (*WHO, *ACCESS, *ANSWERS, *RECORD)
"""In the order in which they are described."""
