"""Find what waits in the inbox without reading all that was dealt with."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_OPEN = sa.text("done_at is null")


def upgrade() -> None:
    """Index what is open alone."""
    op.create_index("ix_inbox_open", "inbox", ["at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
