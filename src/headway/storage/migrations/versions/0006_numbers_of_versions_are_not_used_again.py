"""numbers of versions are not used again"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("registered_models", sa.Column("last_number", sa.Integer(), server_default="0", nullable=False))
