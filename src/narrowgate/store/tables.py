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
    Column("credential_id", Text, unique=True),
    Column("credential_hash", LargeBinary, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("groups", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("ends_at", Float),
    Column("keys", Text, nullable=False),
    Column("certificate_names", Text, nullable=False),
    Column("paused_because", Text, nullable=False),
    Column("old_credential", Text),
    Column("handed_to", Text, nullable=False, server_default="[]"),
)
"""`groups`, `keys`, `handed_to` and `certificate_names` are JSON lists, `labels` a JSON list of pairs, `old_credential`
an object: they are read whole, never searched. `credential_id` and `credential_hash` are NULL for an agent without a
simple credential."""

generation = Table(
    "generation",
    metadata,
    Column("number", Integer, nullable=False),
)
"""One row, which grows whenever something changes that requests are judged by."""

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("person", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("claims", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("previous_hash", LargeBinary),
    Column("renewed_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("source_ip", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("ended_at", Float),
    Column("ended_because", Text, nullable=False),
    Index("sign_ins_by_person", "person", "created_at"),
    Index("sign_ins_by_previous", "previous_hash"),
    Index("sign_ins_by_end", "ended_at"),
)
"""`groups` is a JSON list, `claims` a JSON list of pairs."""

once = Table(
    "once",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("once_by_expiry", "expires_at"),
)

role_grants = Table(
    "role_grants",
    metadata,
    Column("person", Text, primary_key=True, nullable=False),
    Column("role", Text, primary_key=True, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("given_at", Float, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("credential_hash", LargeBinary, unique=True),
    Column("document", Text, nullable=False),
    Column("ended_at", Float),
    Column("parent", Text),
    Column("on_end", Text),
    Index("tasks_by_name", "name", "requested_at"),
    Index("tasks_by_state", "state"),
    Index("tasks_by_parent", "parent"),
    Index("tasks_by_on_end", "on_end"),
)
"""`document` is the task as JSON (`core.tasks.Task`); the other columns repeat what is searched for."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("holder", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("lapses_at", Float, nullable=False),
    Column("document", Text, nullable=False),
    Index("approvals_by_holder", "holder", "asked_at"),
    Index("approvals_by_task", "task"),
    Index("approvals_by_digest", "digest"),
    Index("approvals_by_state", "state", "lapses_at"),
)
"""`document` is the question as JSON (`core.approvals.ApprovalQuestion`); the columns before it repeat what is searched
for."""

sightings = Table(
    "sightings",
    metadata,
    Column("proof", Text, primary_key=True, nullable=False),
    Column("network", Text, primary_key=True, nullable=False),
    Column("writer", Text, primary_key=True, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("sightings_by_time", "at"),
)

delegations = Table(
    "delegations",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("person", Text, nullable=False),
    Column("delegate", Text, nullable=False),
    Column("begins_at", Float, nullable=False),
    Column("ends_at", Float, nullable=False),
    Column("document", Text, nullable=False),
    Index("delegations_by_delegate", "delegate", "ends_at"),
    Index("delegations_by_person", "person", "ends_at"),
)
"""Who answers for whom while they are away; `document` is all of it as JSON."""

task_requests = Table(
    "task_requests",
    metadata,
    Column("task", Text, primary_key=True, nullable=False),
    Column("taken", Integer, nullable=False),
)
"""How many requests of a task that has a limit were handed out to processes, used or not."""

task_streams = Table(
    "task_streams",
    metadata,
    Column("task", Text, primary_key=True, nullable=False),
    Column("writer", Text, primary_key=True, nullable=False),
    Column("streams", Integer, nullable=False),
    Column("at", Float, nullable=False),
)
"""Streams of such a task under way in each process, as it last told."""

notification_cursors = Table(
    "notification_cursors",
    metadata,
    Column("receiver", Text, primary_key=True, nullable=False),
    Column("change", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("trouble", Text, nullable=False),
)
"""The last change that each receiver has been told, and how telling the next one went so far."""

rule_uses = Table(
    "rule_uses",
    metadata,
    Column("holder", Text, primary_key=True, nullable=False),
    Column("cluster", Text, primary_key=True, nullable=False),
    Column("policy", Text, primary_key=True, nullable=False),
    Column("rule", Text, primary_key=True, nullable=False),
    Column("at", Float, nullable=False),
)
"""When standing access was last used."""

denied_requests = Table(
    "denied_requests",
    metadata,
    Column("audit_id", Text, primary_key=True, nullable=False),
    Column("holder", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
    Index("denied_requests_by_holder", "holder", "at"),
    Index("denied_requests_by_time", "at"),
)
"""What agents were refused lately (`core.denied_request.DeniedRequest` as JSON): an hour, no part of the record."""

session_ends = Table(
    "session_ends",
    metadata,
    Column("session", Text, primary_key=True, nullable=False),
    Column("because", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("session_ends_by_time", "at"),
)
"""Sessions (the audit ids of their requests) that somebody ended while they ran."""

lineage = Table(
    "lineage",
    metadata,
    Column("cluster", Text, primary_key=True, nullable=False),
    Column("uid", Text, primary_key=True, nullable=False),
    Column("resource", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("authors", Text, nullable=False),
    Column("owners", Text, nullable=False),
    Column("is_settled", Boolean, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("audit_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("gone_at", Float),
    Index("lineage_by_number", "number"),
    Index("lineage_by_end", "gone_at"),
    Index("lineage_by_name", "cluster", "resource", "namespace", "name"),
)
"""Who had which object made (`core.lineage.Placement`); `authors` and `owners` are JSON. `number` is 0 until authors
are added to what was settled, or may be by a write that begins, and then the number of that, which processes look
for."""

lineage_writes = Table(
    "lineage_writes",
    metadata,
    Column("audit_id", Text, primary_key=True, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
    Index("lineage_writes_by_place", "cluster", "resource", "namespace"),
    Index("lineage_writes_by_time", "at"),
)
"""Writes that are under way, or whose outcome nobody knows; `document` is `core.lineage.PendingWrite` as JSON."""

leftovers = Table(
    "leftovers",
    metadata,
    Column("task", Text, primary_key=True, nullable=False),
    Column("cluster", Text, primary_key=True, nullable=False),
    Column("uid", Text, primary_key=True, nullable=False),
    Column("is_owned", Boolean, nullable=False),
    Column("fate", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("why", Text, nullable=False),
    Index("leftovers_by_object", "cluster", "uid"),
)
"""What was created under each task (`core.leftovers.Leftover`); the objects themselves are in `lineage`."""

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
