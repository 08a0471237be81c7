"""How a database of any earlier version becomes one of this version: numbered steps, each run once, none ever changed.

A step that has been released is history. A change to a table is a new step at the end, together with `tables.py`.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from narrowgate.store import tables
from narrowgate.store.port import StoreUnavailable

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE agents (
            name TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            purpose TEXT NOT NULL,
            cluster TEXT NOT NULL,
            credential_id TEXT NOT NULL UNIQUE,
            credential_hash BLOB NOT NULL UNIQUE,
            created_at FLOAT NOT NULL,
            expires_at FLOAT NOT NULL,
            paused BOOLEAN NOT NULL,
            groups TEXT NOT NULL,
            labels TEXT NOT NULL
        )""",
        """CREATE TABLE policy_revisions (
            number INTEGER NOT NULL PRIMARY KEY,
            made_at FLOAT NOT NULL,
            made_by TEXT NOT NULL,
            digest TEXT NOT NULL,
            file_count INTEGER NOT NULL,
            files TEXT NOT NULL
        )""",
        """CREATE TABLE changes (
            number INTEGER NOT NULL PRIMARY KEY,
            at FLOAT NOT NULL,
            "by" TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        )""",
        "CREATE INDEX changes_by_subject ON changes (subject)",
    ),
    (
        # SQLite cannot take NOT NULL off a column: the table is made anew.
        """CREATE TABLE agents_2 (
            name TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            purpose TEXT NOT NULL,
            cluster TEXT NOT NULL,
            credential_id TEXT UNIQUE,
            credential_hash BLOB UNIQUE,
            created_at FLOAT NOT NULL,
            expires_at FLOAT NOT NULL,
            paused BOOLEAN NOT NULL,
            groups TEXT NOT NULL,
            labels TEXT NOT NULL,
            ends_at FLOAT,
            keys TEXT NOT NULL,
            certificate_names TEXT NOT NULL
        )""",
        """INSERT INTO agents_2
            SELECT name, owner, purpose, cluster, credential_id, credential_hash, created_at, expires_at, paused,
                groups, labels, NULL, '[]', '[]' FROM agents""",
        "DROP TABLE agents",
        "ALTER TABLE agents_2 RENAME TO agents",
        "CREATE TABLE generation (number INTEGER NOT NULL)",
        "INSERT INTO generation VALUES (1)",
        """CREATE TABLE sign_ins (
            id TEXT NOT NULL PRIMARY KEY,
            person TEXT NOT NULL,
            groups TEXT NOT NULL,
            source TEXT NOT NULL,
            claims TEXT NOT NULL,
            client TEXT NOT NULL,
            secret_hash BLOB NOT NULL UNIQUE,
            previous_hash BLOB,
            renewed_at FLOAT NOT NULL,
            created_at FLOAT NOT NULL,
            expires_at FLOAT NOT NULL,
            source_ip TEXT NOT NULL,
            user_agent TEXT NOT NULL,
            ended_at FLOAT,
            ended_because TEXT NOT NULL
        )""",
        "CREATE INDEX sign_ins_by_person ON sign_ins (person, created_at)",
        "CREATE INDEX sign_ins_by_previous ON sign_ins (previous_hash)",
        "CREATE INDEX sign_ins_by_end ON sign_ins (ended_at)",
        """CREATE TABLE once (
            key_hash BLOB NOT NULL PRIMARY KEY,
            purpose TEXT NOT NULL,
            payload TEXT NOT NULL,
            expires_at FLOAT NOT NULL
        )""",
        "CREATE INDEX once_by_expiry ON once (expires_at)",
        """CREATE TABLE role_grants (
            person TEXT NOT NULL,
            role TEXT NOT NULL,
            given_by TEXT NOT NULL,
            given_at FLOAT NOT NULL,
            PRIMARY KEY (person, role)
        )""",
    ),
    (
        "ALTER TABLE agents ADD COLUMN paused_because TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE agents ADD COLUMN old_credential TEXT",
    ),
    (
        """CREATE TABLE sightings (
            proof TEXT NOT NULL,
            network TEXT NOT NULL,
            writer TEXT NOT NULL,
            agent TEXT NOT NULL,
            user_agent TEXT NOT NULL,
            at FLOAT NOT NULL,
            PRIMARY KEY (proof, network, writer)
        )""",
        "CREATE INDEX sightings_by_time ON sightings (at)",
    ),
    (
        """CREATE TABLE tasks (
            id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            requested_at FLOAT NOT NULL,
            credential_hash BLOB UNIQUE,
            document TEXT NOT NULL
        )""",
        "CREATE INDEX tasks_by_name ON tasks (name, requested_at)",
        "CREATE INDEX tasks_by_state ON tasks (state)",
    ),
    (
        """CREATE TABLE approvals (
            id TEXT NOT NULL PRIMARY KEY,
            holder TEXT NOT NULL,
            task TEXT NOT NULL,
            digest TEXT NOT NULL,
            state TEXT NOT NULL,
            asked_at FLOAT NOT NULL,
            lapses_at FLOAT NOT NULL,
            document TEXT NOT NULL
        )""",
        "CREATE INDEX approvals_by_holder ON approvals (holder, asked_at)",
        "CREATE INDEX approvals_by_task ON approvals (task)",
        "CREATE INDEX approvals_by_digest ON approvals (digest)",
        "CREATE INDEX approvals_by_state ON approvals (state, lapses_at)",
    ),
    (
        "ALTER TABLE agents ADD COLUMN handed_to TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE tasks ADD COLUMN ended_at FLOAT",
        """CREATE TABLE delegations (
            id TEXT NOT NULL PRIMARY KEY,
            person TEXT NOT NULL,
            delegate TEXT NOT NULL,
            begins_at FLOAT NOT NULL,
            ends_at FLOAT NOT NULL,
            document TEXT NOT NULL
        )""",
        "CREATE INDEX delegations_by_delegate ON delegations (delegate, ends_at)",
        "CREATE INDEX delegations_by_person ON delegations (person, ends_at)",
        "CREATE TABLE task_requests (task TEXT NOT NULL PRIMARY KEY, taken INTEGER NOT NULL)",
        """CREATE TABLE task_streams (
            task TEXT NOT NULL,
            writer TEXT NOT NULL,
            streams INTEGER NOT NULL,
            at FLOAT NOT NULL,
            PRIMARY KEY (task, writer)
        )""",
        """CREATE TABLE notification_cursors (
            receiver TEXT NOT NULL PRIMARY KEY,
            change INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            next_at FLOAT NOT NULL,
            trouble TEXT NOT NULL
        )""",
        """CREATE TABLE rule_uses (
            holder TEXT NOT NULL,
            cluster TEXT NOT NULL,
            policy TEXT NOT NULL,
            rule TEXT NOT NULL,
            at FLOAT NOT NULL,
            PRIMARY KEY (holder, cluster, policy, rule)
        )""",
        """CREATE TABLE denied_requests (
            audit_id TEXT NOT NULL PRIMARY KEY,
            holder TEXT NOT NULL,
            at FLOAT NOT NULL,
            document TEXT NOT NULL
        )""",
        "CREATE INDEX denied_requests_by_holder ON denied_requests (holder, at)",
        "CREATE INDEX denied_requests_by_time ON denied_requests (at)",
    ),
    (
        """CREATE TABLE session_ends (
            session TEXT NOT NULL PRIMARY KEY,
            because TEXT NOT NULL,
            by TEXT NOT NULL,
            at FLOAT NOT NULL
        )""",
        "CREATE INDEX session_ends_by_time ON session_ends (at)",
    ),
    (
        """CREATE TABLE lineage (
            cluster TEXT NOT NULL,
            uid TEXT NOT NULL,
            resource TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            authors TEXT NOT NULL,
            owners TEXT NOT NULL,
            is_settled BOOLEAN NOT NULL,
            first_at FLOAT NOT NULL,
            audit_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            gone_at FLOAT,
            PRIMARY KEY (cluster, uid)
        )""",
        "CREATE INDEX lineage_by_number ON lineage (number)",
        "CREATE INDEX lineage_by_end ON lineage (gone_at)",
        """CREATE TABLE lineage_writes (
            audit_id TEXT NOT NULL PRIMARY KEY,
            cluster TEXT NOT NULL,
            resource TEXT NOT NULL,
            namespace TEXT NOT NULL,
            at FLOAT NOT NULL,
            document TEXT NOT NULL
        )""",
        "CREATE INDEX lineage_writes_by_place ON lineage_writes (cluster, resource, namespace)",
        "CREATE INDEX lineage_writes_by_time ON lineage_writes (at)",
    ),
    (
        "ALTER TABLE tasks ADD COLUMN parent TEXT",
        "CREATE INDEX tasks_by_parent ON tasks (parent)",
    ),
    (
        "ALTER TABLE tasks ADD COLUMN on_end TEXT",
        "CREATE INDEX tasks_by_on_end ON tasks (on_end)",
        """CREATE TABLE leftovers (
            task TEXT NOT NULL,
            cluster TEXT NOT NULL,
            uid TEXT NOT NULL,
            is_owned BOOLEAN NOT NULL,
            fate TEXT NOT NULL,
            tries INTEGER NOT NULL,
            next_at FLOAT NOT NULL,
            why TEXT NOT NULL,
            PRIMARY KEY (task, cluster, uid)
        )""",
        "CREATE INDEX leftovers_by_object ON leftovers (cluster, uid)",
    ),
    ("CREATE INDEX lineage_by_name ON lineage (cluster, resource, namespace, name)",),
)
"""The statements of step 1, 2, ..."""


def migrate(connection: Connection, store: str) -> None:
    """Bring the database behind `connection` (in a write transaction) to this version; `store` is how errors call it.

    Raises StoreUnavailable, touching nothing, when a newer version has written it: guessing at its meaning could permit
    what it forbids.
    """
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS narrowgate_schema (version INTEGER NOT NULL)")
    version = connection.execute(select(tables.schema.c.version)).scalar()
    if version is None:
        connection.execute(insert(tables.schema).values(version=0))
        version = 0
    if version > len(STEPS):
        raise StoreUnavailable(
            f"{store}: written by a newer narrowgate (schema {version}, this one knows {len(STEPS)}); "
            "use that version, or restore the backup made before it"
        )
    for statements in STEPS[version:]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    if version < len(STEPS):
        connection.execute(update(tables.schema).values(version=len(STEPS)))
