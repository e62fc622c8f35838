"""Check the ledger and evidence, issue and revoke tokens: done here, on the store itself, without the service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from passgate.errors import InputError, RecordError, UnknownNameError
from passgate.faces.cli.client import TOKEN_FILE
from passgate.faces.cli.processes import plain
from passgate.faces.cli.terminal import Answer
from passgate.settings.place import config_dir, home

if TYPE_CHECKING:
    from passgate.settings.shape import Config
    from passgate.store.store import Store

PRIVATE = 0o600
BAD_RECORD = RecordError.exit_code


def ledger_verify() -> Iterator[Answer]:
    """Check that the record of everything is whole: each entry, their order, the signatures, and the copies outside."""
    from passgate.ledger.verify import Proven

    found = _existing_store().verify()
    is_whole = isinstance(found, Proven)
    data = {"whole": is_whole, **plain(asdict(found))}
    yield Answer([found.words], data, 0 if is_whole else BAD_RECORD)


def ledger_key() -> Iterator[Answer]:
    """Show the ledger's public key, with which anybody can check its evidence elsewhere."""
    key = _own_key()
    yield Answer([key], {"key": key})


def evidence_verify(
    evidence: Annotated[Path, Parameter(help="The evidence file")],
    *,
    key: Annotated[str | None, Parameter(help="Verifier key of the ledger; none: this site's own")] = None,
) -> Iterator[Answer]:
    """Check the evidence of a change offline: nothing but the file and the ledger's public key is needed."""
    from passgate.ledger.evidence import BadEvidence, verify_evidence

    if not evidence.is_file():
        raise InputError(f"There is no file {evidence}.", hint="`passgate evidence fetch CHANGE` gets it.")
    found = verify_evidence(evidence, key or _own_key())
    if isinstance(found, BadEvidence):
        lines = [f"The evidence does not hold. {found.file}: {found.reason}"]
        yield Answer(lines, {"whole": False, **plain(asdict(found))}, BAD_RECORD)
    else:
        yield Answer([found.words], {"whole": True, **plain(asdict(found))})


def token_issue(
    person: Annotated[str, Parameter(help="Id of the person in config/people.yaml")],
    *,
    save: Annotated[bool, Parameter(negative=(), help="Write it into this home, for whoever works here")] = False,
) -> Iterator[Answer]:
    """Issue a personal token; it is shown once, and whoever has it speaks as that person."""
    from datetime import UTC, datetime

    store, config = _store()
    known = [one.id for one in config.people.people]
    if person not in known:
        raise UnknownNameError(
            f"{person!r} is not in config/people.yaml.", hint=f"There are: {', '.join(known)}.", subject=person
        )
    token = store.issue_token(person, datetime.now(UTC))
    if save:
        path = home() / TOKEN_FILE
        path.unlink(missing_ok=True)
        path.touch(PRIVATE)
        path.write_text(f"{token}\n", encoding="utf-8")
        yield Answer([f"Commands here speak as {person} now: the token is in {path}."], {"person": person})
    else:
        lines = [token, f"This is {person}'s token. It is shown only now. Use it so: export PASSGATE_TOKEN=..."]
        yield Answer(lines, {"person": person, "token": token})


def token_revoke(
    person: Annotated[str, Parameter(help="Id of the person; one who is no longer in config/people.yaml too")],
) -> Iterator[Answer]:
    """Make all personal tokens of a person worthless, at once: the service need not be started again."""
    from datetime import UTC, datetime

    count = _existing_store().revoke_tokens(person, datetime.now(UTC))
    if not count:
        raise UnknownNameError(
            f"{person!r} has no personal token, so nothing was revoked.",
            hint="Look at the spelling: the ids are in config/people.yaml.",
            subject=person,
        )
    words = f"Revoked {count} token{'' if count == 1 else 's'} of {person}. Whoever used one gets no further with it."
    yield Answer([words], {"person": person, "revoked": count})


def _store() -> tuple[Store, Config]:
    from passgate.engine.runtime import open_store
    from passgate.settings.load import load_config

    config = load_config(config_dir())
    return open_store(home(), config), config


def _existing_store() -> Store:
    """Return this home's store; a home without a ledger is not given a new one just to look at it."""
    key = home() / "ledger.key"
    if not key.exists():
        raise RecordError(
            f"There is no ledger in {home()}.",
            hint="Run this where the service runs, or name its home in PASSGATE_HOME.",
            subject=str(home()),
        )
    return _store()[0]


def _own_key() -> str:
    if not (home() / "ledger.key").exists():
        raise InputError(
            f"There is no ledger in {home()}, so there is no key to check with.",
            hint="Give the ledger's key with --key; `passgate ledger key` shows it where the service runs.",
        )
    key = _existing_store().verifier_key
    if key is None:
        raise RecordError("This site has no key.", hint="Give the ledger's key with --key.")
    return key.text
