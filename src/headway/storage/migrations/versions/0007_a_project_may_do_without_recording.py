"""a project may do without recording"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("records", sa.Boolean(), server_default=sa.text("true"), nullable=False))
