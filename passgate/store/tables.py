"""Lay out the database. Times are UTC text of fixed width, so that both databases sort and compare them alike."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

from passgate.ledger.canonical import time_of, time_text

REVISION = "0011"
"""The newest migration; a database that says so needs none."""


class Utc(TypeDecorator[datetime]):
    """Keep a moment as the same text that the ledger writes."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the base class names it
        """Write the moment as text."""
        return None if value is None else time_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class names it
        """Read the moment from its text."""
        return None if value is None else time_of(value)


class Words(TypeDecorator[str]):
    """Keep text that may come from anywhere: what PostgreSQL or UTF-8 can't hold must not stop a change."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the base class names it
        """Replace NUL characters and halves of characters."""
        return (
            None
            if value is None
            else value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
        )


metadata = MetaData()

changes = Table(
    "changes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False, unique=True),
    Column("runbook", Text, nullable=False),
    Column("ask", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("door", String(16), nullable=False),
    Column("reason", Words, nullable=False),
    Column("ticket", Words),
    Column("state", String(16), nullable=False, index=True),
    Column("created_at", Utc, nullable=False),
    Column("plan", Text),
    Column("digest", String(80)),
    Column("terms", Text),
    Column("approve_by", Utc),
    Column("execute_by", Utc),
    Column("flow_run", String(80), unique=True),
    Column("ended_at", Utc),
    Column("outcome", Words, nullable=False),
    Column("schedule", String(64), index=True),
    Column("replaces", String(32), index=True),
    # When it has to be looked at next because of the clock; none: only if something happens.
    Column("due_at", Utc, index=True),
    # When nothing was left to do for it after its end: its evidence is written, its run has ended.
    Column("closed_at", Utc, index=True),
    Column("starts_at", Utc),
)

# The foreign keys say what belongs to what; none cascades, so that nothing of a record goes when something else does.
journal = Table(
    "journal",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Words, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("saw", Words, nullable=False),
    Column("error", Words, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Index("ix_journal_kind_ended_at", "kind", "ended_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("gate", String(64), primary_key=True),
    Column("person", String(64), primary_key=True),
    # Which of the person's decisions there: one that was taken back may be followed by another.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("door", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", Utc, nullable=False),
    Column("standing_until", Utc),
    Column("standing_from", String(32)),
)

# A schedule that was removed has no row; the ledger knows of it. What became of its occurrences stays.
schedules = Table(
    "schedules",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("since", Utc, nullable=False),
    Column("standing_since", Utc, nullable=False),
)

# The local time is half of the key: a time that comes twice, or two runs of Prefect for one time, file one change.
occurrences = Table(
    "occurrences",
    metadata,
    Column("schedule", String(64), primary_key=True),
    Column("local", String(64), primary_key=True),
    Column("at", Utc, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("change", String(32), ForeignKey(changes.c.id)),
    Column("why", Words, nullable=False),
    Column("noted_at", Utc, nullable=False),
)

# Second gates that a change has come to. A gate that was settled keeps its row: it is how a woken run knows.
gates = Table(
    "gates",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("step", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("approve_by", Utc, nullable=False),
    Column("settled_at", Utc),
    Column("why", Words, nullable=False),
)

# One for each change that began by a broken glass; kept when it is closed.
reviews = Table(
    "reviews",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("by", String(64), nullable=False, index=True),
    Column("reviewers", Text, nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("told_at", Utc),
    Column("closed_at", Utc),
    Column("closed_by", String(64), nullable=False),
    Column("verdict", String(16)),
    Column("words", Words, nullable=False),
    Column("kept_at", Utc),
)

# Reminders and escalations that were made, each once: the primary key is the compare-and-set.
rungs = Table(
    "rungs",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("gate", String(64), primary_key=True),
    Column("rung", String(64), primary_key=True),
    Column("at", Utc, nullable=False),
)

# Freezes that somebody let one change through.
overrides = Table(
    "overrides",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("freeze", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("door", String(16), nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", Utc, nullable=False),
)

# A lease that was given back keeps its row, so that its fencing token only ever rises.
leases = Table(
    "leases",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("change", String(32)),
    Column("token", Integer, nullable=False),
    Column("until", Utc, nullable=False),
)

chat_messages = Table(
    "chat_messages",
    metadata,
    Column("change", String(32), ForeignKey(changes.c.id), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("gate", String(64), primary_key=True),
    Column("ts", String(64), nullable=False),
    Column("digest", String(80), nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("seq", Integer, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("payload", Text, nullable=False),
    Column("at", Utc, nullable=False),
    Column("outcome", Words),
    Column("done_at", Utc),
    Index("ix_inbox_open", "at", sqlite_where=text("done_at is null"), postgresql_where=text("done_at is null")),
)

# What may come only once, and when it came: signatures of requests.
seen = Table(
    "seen",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("at", Utc, nullable=False),
)

# What a person asked for has a key of its own: a request that is worked on twice, as after a crash, files one change.
filings = Table(
    "filings",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("change", String(32), ForeignKey(changes.c.id), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("at", Utc, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("change", String(32), nullable=False),
    Column("prev_hash", LargeBinary(32), nullable=False, unique=True),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_ledger_change_seq", "change", "seq"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("at", Utc, nullable=False),
    Column("note", Text, nullable=False),
    Column("edge", LargeBinary, nullable=False),
)
