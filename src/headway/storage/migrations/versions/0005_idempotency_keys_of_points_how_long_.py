"""idempotency keys of points, how long deleted runs are kept"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "point_batches",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_point_batches_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_point_batches")),
    )
    op.create_index("ix_point_batches_stored_at", "point_batches", ["stored_at"], unique=False)
    op.add_column("projects", sa.Column("keep_deleted_days", sa.Integer(), server_default="30", nullable=False))
