"""Open the database, give out transactions, and say in words what went wrong with it."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from passgate.errors import ConflictError, RecordError
from passgate.store.tables import REVISION

BUSY_SECONDS = 30
"""How long a writer waits for another one before it gives up."""

WRITER_LOCK = 0x70617373
"""Key of PostgreSQL's advisory lock that makes all processes one writer ("pass")."""

SERVICE_LOCK = 0x73657276
"""Key of PostgreSQL's advisory lock that one service holds as long as it lives ("serv")."""

_KEEP_ALIVE = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 3}
"""What PostgreSQL's server does on the connection that holds SERVICE_LOCK: a machine that is gone loses it in 11 s."""

_CAUSES = (
    ("disk is full", "the disk is full", "Free some space; until then no change goes on."),
    ("no space left", "the disk is full", "Free some space; until then no change goes on."),
    ("readonly", "it is read-only for this process", "Check owner and mode of the file, its folder and its mount."),
    ("read-only", "it is read-only for this process", "Check owner and mode of the file, its folder and its mount."),
    ("locked", "another process holds it for too long", "Look for a stuck passgate process, then try again."),
    ("unable to open", "its file can't be opened", "Check that the folder exists and belongs to this user."),
    ("malformed", "its file is damaged", "Restore the last backup, then run `passgate ledger verify`."),
    ("not a database", "its file is no database", "Check the database setting in config/service.yaml."),
    ("append-only", "the record is append-only and stayed as it was", "Nothing may edit it; find out what tried to."),
    ("no such table", "it has no tables yet", "Start Passgate's service once: it creates them."),
    ("undefinedtable", "it has no tables yet", "Start Passgate's service once: it creates them."),
    (
        "connection",
        "no connection to the server",
        "Check that it runs and that the URL in config/service.yaml is right.",
    ),
)


def in_words(error: SQLAlchemyError) -> RecordError:
    """Say what a database error means; its own text stays out where it could hold values or credentials."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    seen = f"{type(cause).__name__} {cause}".casefold()
    for sign, meaning, hint in _CAUSES:
        if sign in seen:
            return RecordError(f"The database can't be used: {meaning}. Nothing was recorded.", hint=hint)
    return RecordError(
        f"The database can't be used ({type(cause).__name__}). Nothing was recorded.",
        hint="See the log of the database, or of its disk.",
    )


def open_engine(url: str) -> Engine:
    """Return an engine for SQLite (one file) or PostgreSQL."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        try:
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise RecordError(
                "The database is PostgreSQL, but Python's driver for it is not installed.",
                hint="Run: pip install 'psycopg[binary]'",
            ) from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        raise RecordError(
            f"{parsed.render_as_string()} is no database that Passgate can use.",
            hint="Give sqlite:///<file> or postgresql://<user>@<host>/<name> in config/service.yaml.",
        )
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # Without this the driver begins transactions by itself, too late and without IMMEDIATE.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"pragma {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: the writer's lock is taken before the head of the ledger is read, so that two can't read the same one.
    writes = connection.get_execution_options().get("passgate_writes")
    connection.exec_driver_sql("begin immediate" if writes else "begin")


class _Held(Protocol):
    """What holds the right of one service for as long as it is open."""

    def close(self) -> None: ...


class Database:
    """Give out transactions on one database: many readers, one writer at a time across all processes."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._held: _Held | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment."""
        try:
            with self.engine.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise in_words(error) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open the writer's transaction; it commits at the end, or leaves nothing behind."""
        try:
            with (
                self.engine.connect().execution_options(passgate_writes=True) as connection,
                connection.begin(),
            ):
                if self.engine.dialect.name == "postgresql":
                    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
                yield connection
        except SQLAlchemyError as error:
            raise in_words(error) from error

    def migrate(self) -> None:
        """Bring the tables up to date; a database that already is costs one query."""
        try:
            with self.engine.connect() as connection:
                if connection.scalar(text("select version_num from alembic_version")) == REVISION:
                    return
        except SQLAlchemyError:
            pass  # No version table: a new database, or one that can't be used, and then the next lines say so.
        # Alembic takes a third of a second to import, and hardly any process has something to migrate.
        from alembic import command  # noqa: PLC0415 - see above
        from alembic.config import Config  # noqa: PLC0415 - see above

        self._make_folder()
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _make_folder(self) -> None:
        if self.engine.dialect.name == "sqlite" and self.engine.url.database:
            try:
                Path(self.engine.url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RecordError(
                    f"The folder of the database can't be made: {error.strerror}.",
                    hint="Check owner and mode above it.",
                ) from error

    def hold(self) -> None:
        """Take the exclusive right of one service to work here, until `close` or the end of this process."""
        if self._held:
            return
        self._held = self._hold_postgresql() if self.engine.dialect.name == "postgresql" else self._hold_sqlite()

    def still_holds(self) -> bool:
        """Say whether the right to work here is still ours; one that is lost may be taken again."""
        if isinstance(self._held, Connection):
            try:
                self._held.execute(text("select 1"))
            except SQLAlchemyError:
                self._held.invalidate()
                self._held.close()
                self._held = None
        return self._held is not None

    def close(self) -> None:
        """Let go of the right to work here, and give all connections back."""
        if self._held:
            self._held.close()
            self._held = None
        self.engine.dispose()  # PostgreSQL's lock ends here, with the session that took it

    def _hold_sqlite(self) -> _Held:
        path = Path(f"{self.engine.url.database}.service")
        self._make_folder()
        try:
            file = path.open("ab")
        except OSError as error:
            raise RecordError(
                f"The file {path}, by which one service alone works on the database, can't be opened: "
                f"{error.strerror}.",
                hint="Check owner and mode of the file and its folder.",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise _held_elsewhere() from error
        except OSError as error:
            file.close()
            raise RecordError(
                f"The file {path}, by which one service alone works on the database, can't be locked: "
                f"{error.strerror}.",
                hint="Put the database on a local disk.",
            ) from error
        return file

    def _hold_postgresql(self) -> _Held:
        try:
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for name, value in _KEEP_ALIVE.items():
                connection.execute(text(f"set {name} = {value}"))
            is_ours = connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": SERVICE_LOCK})
        except SQLAlchemyError as error:
            raise in_words(error) from error
        if not is_ours:
            connection.close()
            raise _held_elsewhere()
        return connection


def _held_elsewhere() -> ConflictError:
    return ConflictError(
        "Another service works on this database. Two would carry out the same changes twice; this one did not start.",
        hint="Use the one that runs (`passgate status`), or stop it first (`passgate down`, in its home). "
        "To let this one stand by, set standby: true in config/service.yaml of both.",
    )
