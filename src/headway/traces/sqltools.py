"""Values inside JSON texts as SQL, meaning the same on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, String, case, cast, func, literal
from sqlalchemy.orm import Session


def json_text(db: Session, column: Any, *path: str) -> Any:
    """The text of the value at a path of a JSON text; null where there is none. Booleans are `true` and `false`."""
    if db.get_bind().dialect.name != "sqlite":
        return func.json_extract_path_text(cast(column, JSON), *path)
    steps = "$" + "".join(f'."{step}"' for step in path)
    if any('"' in step for step in path):  # SQLite has no way to write such a name
        return literal(None, String)
    kind = func.json_type(column, steps)
    given = cast(func.json_extract(column, steps), String)
    return case((kind == "true", literal("true")), (kind == "false", literal("false")), else_=given)
