"""Promise: replicas on one database notice what the others recorded, and that the right to work is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from passgate.errors import ConflictError
from passgate.store.store import Store
from tests.house import until
from tests.postgres import running_postgres
from tests.record_story import AT, BOB, open_store, vote, waiting_change

LET_GO = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"


@pytest.fixture(scope="module", name="postgres")
def _postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name an empty database of each kind that Passgate can use."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'passgate.db'}"
    url = str(request.getfixturevalue("postgres"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return url


def test_what_another_process_recorded_is_noticed_once_and_what_this_one_did_is_not(tmp_path: Path, url: str) -> None:
    """A look tells of which changes others recorded something, and whether anything waits in the inbox."""
    ours, other = open_store(tmp_path, url), open_store(tmp_path, url)
    change = waiting_change(ours)
    assert ours.news.look() == (frozenset(), False)
    ours.decide(vote(change), BOB)
    assert ours.news.look() == (frozenset(), False)

    other.issue_token("dave", AT)
    second = waiting_change(other)
    other.inbox_put("a click", {}, AT)
    assert ours.news.look() == (frozenset({"", second.id}), True)
    assert ours.news.look() == (frozenset(), True)

    other.inbox_done("a click", "done", AT)
    assert ours.news.look() == (frozenset(), False)
    ours.close()
    other.close()


def held_in_time(store: Store) -> None:
    """Hold the database; the server ends a connection by and by."""

    def is_held() -> bool:
        with contextlib.suppress(ConflictError):
            store.hold()
        return store.still_holds()

    until(is_held, "the lock is free")


def test_a_connection_that_broke_took_the_right_to_work_with_it(postgres: str) -> None:
    """Who lost it says so, takes it anew if nobody else did, and is refused where another one was faster."""
    ours, other = Store(postgres, origin="o", signer=None), Store(postgres, origin="o", signer=None)
    ours.migrate()
    ours.hold()
    assert ours.still_holds()
    with pytest.raises(ConflictError):
        other.hold()

    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(LET_GO)
    assert not ours.still_holds()
    held_in_time(ours)
    assert ours.still_holds()

    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(LET_GO)
    held_in_time(other)
    assert not ours.still_holds()
    with pytest.raises(ConflictError):
        ours.hold()
    ours.close()
    other.close()
