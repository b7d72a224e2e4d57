"""indexes that answer searches alone"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in ("params", "tags") if sqlite else ():
        op.drop_index(f"ix_{table}_find", table)
        op.create_index(f"ix_{table}_find", table, ["experiment_id", "key_id", "value", "run_id"])
    op.drop_index("ix_summaries_find", "summaries")
    op.create_index(
        "ix_summaries_find", "summaries", ["experiment_id", "key_id", "is_nan", "last", "run_id", "low", "high"]
    )
    op.drop_index("ix_runs_list", "runs")
    columns: list[Any] = ["experiment_id", "lifecycle", sa.literal_column("start_time DESC"), "uuid", "parent_uuid"]
    op.create_index("ix_runs_list", "runs", columns)
