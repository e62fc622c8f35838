"""Keep which change another one replaces."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column."""
    op.add_column("changes", sa.Column("replaces", sa.String(length=32), nullable=True))
    op.create_index("ix_changes_replaces", "changes", ["replaces"])
