"""Bind decisions and chat messages to a gate, and keep the second gates that changes come to.

What was there before was all about the plan as a whole.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the gate to both primary keys; SQLite can't change one, so the tables are made anew."""
    op.rename_table("decisions", "decisions_of_plans")
    op.create_table(
        "decisions",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "digest", "gate", "person"),
    )
    op.execute(
        "insert into decisions (change, digest, gate, person, door, verdict, reason, at) "
        "select change, digest, 'plan', person, door, verdict, reason, at from decisions_of_plans"
    )
    op.drop_table("decisions_of_plans")
    op.rename_table("chat_messages", "chat_messages_of_plans")
    op.create_table(
        "chat_messages",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("ts", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "channel", "gate"),
    )
    op.execute(
        "insert into chat_messages (change, channel, gate, ts, digest) "
        "select change, channel, 'plan', ts, digest from chat_messages_of_plans"
    )
    op.drop_table("chat_messages_of_plans")
    op.create_table(
        "gates",
        sa.Column("change", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("approve_by", sa.String(length=27), nullable=False),
        sa.Column("settled_at", sa.String(length=27), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["changes.id"]),
        sa.PrimaryKeyConstraint("change", "name"),
    )
