"""Let a decision be taken back and followed by another: number each person's decisions at a gate."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the number to the primary key; SQLite can't change one, so the table is made anew."""
    op.rename_table("decisions", "decisions_made_once")
    op.create_table(
        "decisions",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "digest", "gate", "person", "number"),
    )
    op.execute(
        "insert into decisions (change, digest, gate, person, number, door, verdict, reason, at) "
        "select change, digest, gate, person, 0, door, verdict, reason, at from decisions_made_once"
    )
    op.drop_table("decisions_made_once")
