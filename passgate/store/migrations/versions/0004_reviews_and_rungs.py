"""Keep the reviews of broken glasses, and which reminders and escalations were made."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "reviews",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reviewers", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("due_at", sa.String(length=27), nullable=False),
        sa.Column("told_at", sa.String(length=27), nullable=True),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("closed_by", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("kept_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change"),
    )
    op.create_index(op.f("ix_reviews_by"), "reviews", ["by"], unique=False)
    op.create_table(
        "rungs",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("rung", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "gate", "rung"),
    )
