"""The tables as SQLAlchemy Core sees them now. How they came about: `migrations.py`; a test holds both together."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

schema = Table(
    "narrowgate_schema",
    metadata,
    Column("version", Integer, nullable=False),
)
"""One row: the number of the last migration."""

agents = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("owner", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("credential_id", Text, nullable=False, unique=True),
    Column("credential_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("groups", Text, nullable=False),
    Column("labels", Text, nullable=False),
)
"""`groups` is a JSON list, `labels` a JSON list of pairs: they are read whole, never searched."""

revisions = Table(
    "policy_revisions",
    metadata,
    Column("number", Integer, primary_key=True, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("file_count", Integer, nullable=False),
    Column("files", Text, nullable=False),
)
"""`files` is a JSON list of [name, text]."""

changes = Table(
    "changes",
    metadata,
    Column("number", Integer, primary_key=True, nullable=False),
    Column("at", Float, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("changes_by_subject", "subject"),
)
