"""Keep schedules, what became of their occurrences, and approvals that stand for later runs of a schedule."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables, and what a change and a decision say of schedules."""
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=False),
        sa.Column("standing_since", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "occurrences",
        sa.Column("schedule", sa.String(length=64), nullable=False),
        sa.Column("local", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("change", sa.String(length=32), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("schedule", "local"),
    )
    op.add_column("changes", sa.Column("schedule", sa.String(length=64), nullable=True))
    op.create_index("ix_changes_schedule", "changes", ["schedule"])
    op.add_column("decisions", sa.Column("standing_until", sa.String(length=27), nullable=True))
    op.add_column("decisions", sa.Column("standing_from", sa.String(length=32), nullable=True))
