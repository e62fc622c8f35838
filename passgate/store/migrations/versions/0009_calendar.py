"""Keep for which opening a change waits, and which freezes it was let through."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the moment to changes, and a table of overrides."""
    op.add_column("changes", sa.Column("starts_at", sa.String(length=27), nullable=True))
    op.create_index("ix_journal_kind_ended_at", "journal", ["kind", "ended_at"])
    op.create_table(
        "overrides",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("freeze", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "freeze"),
    )
