"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path

from narrowgate.store.port import Store, StoreUnavailable


def open_store(url: str, data_dir: Path) -> Store:
    """Open the store at `url`: `sqlite:<file>`, relative to `data_dir`; empty means `gate.db` there.

    Raises StoreUnavailable when it cannot be opened, or when this version has no such store.
    """
    kind, _, rest = (url or "sqlite:gate.db").partition(":")
    if kind == "sqlite" and rest:
        # Imported here: SQLAlchemy takes a good part of a second, which nothing but a store needs.
        from narrowgate.store.sqlite import SQLiteStore

        return SQLiteStore(data_dir / rest)
    if kind in {"postgresql", "postgres"}:
        raise StoreUnavailable("store: PostgreSQL is not in this version yet; use sqlite:<file>")
    raise StoreUnavailable(f'store: cannot tell what "{url}" is; write sqlite:<file>')
