"""links of traces to runs by id"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trace_links",
        sa.Column("trace_uuid", sa.String(length=100), nullable=False),
        sa.Column("run_uuid", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("trace_uuid", "run_uuid", name=op.f("pk_trace_links")),
    )
    op.create_index("ix_trace_links_run", "trace_links", ["run_uuid", "trace_uuid"], unique=False)
    op.execute(
        "INSERT INTO trace_links (trace_uuid, run_uuid)"
        " SELECT traces.uuid, trace_runs.run_uuid FROM trace_runs JOIN traces ON traces.id = trace_runs.trace_id"
    )
    op.drop_index(op.f("ix_trace_runs_run"), table_name="trace_runs")
    op.drop_table("trace_runs")
