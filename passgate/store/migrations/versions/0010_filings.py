"""Keep which change was filed for which request, so that a request that is worked on twice files one change."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "filings",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("key"),
    )
