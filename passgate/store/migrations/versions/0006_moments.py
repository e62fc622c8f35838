"""Keep when each change has to be looked at next, and whether anything is left to do for one that has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Look at every open change once; what has ended before is closed."""
    op.add_column("changes", sa.Column("due_at", sa.String(length=27), nullable=True))
    op.add_column("changes", sa.Column("closed_at", sa.String(length=27), nullable=True))
    op.create_index("ix_changes_due_at", "changes", ["due_at"])
    op.create_index("ix_changes_closed_at", "changes", ["closed_at"])
    op.execute("update changes set due_at = created_at where ended_at is null")
    op.execute("update changes set closed_at = ended_at where ended_at is not null")
