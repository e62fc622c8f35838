"""Promise: who alters the record is found out, by kind and place; who does not is never accused (DESIGN, promise 4)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from passgate.ledger.canonical import NO_PREV, canonical
from passgate.ledger.note import BadNoteError, Checkpoint, VerifierKey, open_note
from passgate.ledger.offline import NEXT, ed25519_verifies
from passgate.ledger.signer import Signer
from passgate.ledger.tree import Tree, edge_root, grow, included, leaf_hash, root
from passgate.ledger.verify import Finding, Kind, Proven, Row, verify
from passgate.model.change import TRANSITIONS
from passgate.store import record
from tests.record_story import ORIGIN, open_store, whole_change


@dataclass(frozen=True)
class Log:
    """Hold what a verifier is given."""

    rows: tuple[Row, ...]
    heads: tuple[str, ...]
    key: VerifierKey
    anchors: tuple[str, ...]
    signer: Signer

    def verdict(self) -> Finding | Proven:
        """Verify it."""
        return verify(self.rows, self.heads, [self.key], self.anchors)


@pytest.fixture(scope="module", name="clean")
def _clean(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder: Path = tmp_path_factory.mktemp("log")
    store = open_store(folder)
    for _ in range(2):
        whole_change(store)
    with store._database.reading() as connection:
        rows, heads = record.rows(connection), record.heads(connection)
    signer = Signer.load_or_create(folder / "ledger.key")
    store.close()
    lines = tuple((folder / "anchors.log").read_text().splitlines())
    return Log(rows, heads, signer.key(ORIGIN), lines, signer)


def edited(row: Row, **fields: object) -> Row:
    """Return a row with another body, whose own hash is right."""
    body = canonical(json.loads(row.body) | fields)
    return replace(row, body=body, leaf=leaf_hash(body))


def rebuilt(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Renumber and link rows anew, as somebody would who owns the database."""
    prev = NO_PREV
    found: list[Row] = []
    last: dict[str, int] = {}
    for seq, row in enumerate(rows, start=1):
        made = edited(row, seq=str(seq), prev=prev.hex(), before=str(last.get(row.change, 0)))
        found.append(replace(made, seq=seq, prev=prev))
        prev, last[row.change] = found[-1].leaf, seq
    return tuple(found)


def signed_again(log: Log, signer: Signer) -> Log:
    """Sign all heads of the rows as they are now."""
    leaves = [row.leaf for row in log.rows]
    sizes = range(1, len(leaves) + 1)
    return replace(log, heads=tuple(signer.sign(Checkpoint(ORIGIN, n, root(leaves[:n]))) for n in sizes))


def with_rows(log: Log, *rows: Row) -> Log:
    """Return the log with other rows."""
    return replace(log, rows=tuple(rows))


def lied(log: Log, at: int) -> tuple[Row, ...]:
    """Return the rows with another body at an index."""
    return (*log.rows[:at], edited(log.rows[at], data={"lie": "1"}), *log.rows[at + 1 :])


def swapped(log: Log) -> tuple[Row, ...]:
    """Return the rows with two neighbours in each other's place."""
    one, two = log.rows[4], log.rows[5]
    return (*log.rows[:4], replace(two, seq=5), replace(one, seq=6), *log.rows[6:])


def stranger() -> Signer:
    """Return a key that nobody knows."""
    return Signer(Ed25519PrivateKey.generate())


def respelled(log: Log) -> tuple[Row, ...]:
    """Return the rows with one that means the same in other bytes."""
    body = json.dumps(json.loads(log.rows[2].body)).encode()
    return (*log.rows[:2], replace(log.rows[2], body=body, leaf=leaf_hash(body)), *log.rows[3:])


def doubled(log: Log) -> tuple[Row, ...]:
    """Return the rows with one in which a key stands twice."""
    body = log.rows[2].body.replace(b'"v":"1"', b'"v":"1","v":"1"')
    return (*log.rows[:2], replace(log.rows[2], body=body, leaf=leaf_hash(body)), *log.rows[3:])


def other_head(log: Log) -> str:
    """Return a head of the full size over other events, signed with the real key."""
    return log.signer.sign(Checkpoint(ORIGIN, len(log.rows), bytes(32)))


def retold(log: Log, what: Callable[[dict[str, object]], dict[str, object] | None]) -> Log:
    """Tell the story otherwise and sign it with the real key: hashes are fine, the story is not."""
    rows = []
    for row in log.rows:
        said = what(json.loads(row.body))
        if said is not None:
            rows.append(edited(row, **said))
    return signed_again(replace(log, rows=rebuilt(rows), anchors=()), log.signer)


def when(kind: str, **data: object) -> Callable[[dict[str, object]], dict[str, object]]:
    """Change fields of the data of all events of one type."""
    return lambda said: {"data": dict(said["data"]) | data} if said["type"] == kind else {}  # type: ignore[call-overload]  # JSON


CASES: dict[str, tuple[Callable[[Log], Log], Kind | None, int | None]] = {
    "edit a body": (lambda g: with_rows(g, *g.rows[:3], replace(g.rows[3], body=b"{}"), *g.rows[4:]), Kind.EDIT, 4),
    "edit a body and its hash": (lambda g: with_rows(g, *lied(g, 0)), Kind.EDIT, 1),
    "delete the first": (lambda g: with_rows(g, *g.rows[1:]), Kind.GAP, 1),
    "delete a middle one": (lambda g: with_rows(g, *g.rows[:5], *g.rows[6:]), Kind.GAP, 6),
    "delete the last": (lambda g: with_rows(g, *g.rows[:-1]), Kind.TRUNCATED, None),
    "swap two": (lambda g: with_rows(g, *swapped(g)), Kind.EDIT, 4),
    "duplicate seq": (lambda g: with_rows(g, *g.rows[:5], g.rows[4], *g.rows[5:]), Kind.ORDER, 5),
    "empty log": (with_rows, Kind.TRUNCATED, 1),
    "empty everything": (lambda g: replace(g, rows=(), heads=(), anchors=()), Kind.UNSIGNED, 1),
    "fork": (
        lambda g: with_rows(g, *g.rows[:5], replace(g.rows[5], prev=g.rows[3].prev), *g.rows[6:]), Kind.FORK, 6,
    ),
    "recompute after a deletion": (lambda g: with_rows(g, *rebuilt((*g.rows[:9], *g.rows[10:]))), None, None),
    "foreign key": (lambda g: signed_again(g, stranger()), Kind.BAD_KEY, 1),
    "stolen key against the anchors": (
        lambda g: signed_again(with_rows(g, *rebuilt((edited(g.rows[0], at="2026-11-23T06:59:59.000000Z"),
                                                      *g.rows[1:]))),
                               g.signer), Kind.FORK, None,
    ),
    "old backup against the anchors": (lambda g: replace(g, rows=g.rows[:5], heads=g.heads[:1]), Kind.TRUNCATED, 6),
    "two heads of one size": (lambda g: replace(g, heads=(*g.heads, other_head(g))), Kind.FORK, None),
    "same meaning, other bytes": (lambda g: with_rows(g, *respelled(g)), Kind.NOT_CANONICAL, 3),
    "a key twice": (lambda g: with_rows(g, *doubled(g)), Kind.NOT_CANONICAL, 3),
    "note without its last newline": (
        lambda g: replace(g, heads=(*g.heads[:-1], g.heads[-1][:-1])), Kind.BAD_KEY, None,
    ),
    "row of another change": (lambda g: with_rows(g, replace(g.rows[0], change="CHG-0009"), *g.rows[1:]), Kind.EDIT, 1),
    "vote by the requester": (lambda g: retold(g, when("decision.recorded", person="alice")), Kind.MEANING, 4),
    "vote by a stranger": (lambda g: retold(g, when("decision.recorded", person="dave")), Kind.MEANING, 4),
    "vote on another plan": (lambda g: retold(g, when("decision.recorded", digest="sha256:0")), Kind.MEANING, 4),
    "vote after expiry": (
        lambda g: retold(g, when("change.planned", approve_by="2026-11-23T06:00:00.000000Z")), Kind.MEANING, 4,
    ),
    "act without a decision": (
        lambda g: retold(g, lambda said: None if said["type"] == "decision.recorded" else {}), Kind.MEANING, 4,
    ),
    "outcome without intent": (
        lambda g: retold(g, lambda said: None if said["type"] == "step.intent" else {}), Kind.MEANING, 8,
    ),
    "a clock that ran backwards": (
        lambda g: retold(g, lambda said: {"at": "2026-11-22T00:00:00.000000Z"} if said["seq"] == "6" else {}),
        Kind.MEANING, 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_way_of_tampering_is_found_by_kind_and_place(clean: Log, name: str) -> None:
    """The tamper corpus: every broken log gets its verdict."""
    tamper, kind, seq = CASES[name]
    found = tamper(clean).verdict()
    assert isinstance(found, Finding), name
    assert kind is None or found.kind is kind, found
    assert seq is None or found.seq == seq, found
    assert f"event {found.seq}" in found.words


def test_a_clean_ledger_says_what_was_proven_and_what_was_not(clean: Log) -> None:
    """A clean answer names size, time and tail, and never accuses."""
    found = clean.verdict()
    assert isinstance(found, Proven)
    assert (found.size, found.signed, found.anchored, found.tail) == (
        len(clean.rows),
        len(clean.rows),
        len(clean.rows),
        0,
    )
    older = replace(clean, heads=clean.heads[:-1], anchors=clean.anchors[:-1]).verdict()
    assert isinstance(older, Proven)
    assert older.tail > 0
    assert "not covered" in older.words
    alone = replace(clean, anchors=()).verdict()
    assert isinstance(alone, Proven)
    assert "No copy outside" in alone.words


@given(st.data())
def test_no_mutation_of_covered_bytes_is_ever_clean(clean: Log, data: st.DataObject) -> None:
    """Whatever byte of whatever covered row is changed, the verdict is a finding at or before that row."""
    at = data.draw(st.integers(0, len(clean.rows) - 1))
    row = clean.rows[at]
    place = data.draw(st.integers(0, len(row.body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != row.body[place]))
    body = row.body[:place] + bytes([byte]) + row.body[place + 1 :]
    leaf = leaf_hash(body) if data.draw(st.booleans()) else row.leaf
    found = with_rows(clean, *clean.rows[:at], replace(row, body=body, leaf=leaf), *clean.rows[at + 1 :]).verdict()
    assert isinstance(found, Finding)
    assert found.seq <= at + 1


@given(st.integers(1, 70), st.data())
def test_proofs_hold_for_what_is_there_and_for_nothing_else(size: int, data: st.DataObject) -> None:
    """RFC 6962: each leaf has a proof, also one made without the leaves before some earlier head."""
    leaves = [leaf_hash(bytes([each])) for each in range(size)]
    index = data.draw(st.integers(0, size - 1))
    start = data.draw(st.integers(0, index))
    edge: tuple[bytes, ...] = ()
    for place in range(start):
        edge = grow(edge, place, leaves[place])
    proof = Tree(leaves).inclusion(index)
    assert Tree(leaves[start:], start, edge).inclusion(index) == proof
    assert included(leaves[index], index, size, proof, root(leaves))
    assert not included(leaf_hash(b"x"), index, size, proof, root(leaves))
    assert not included(leaves[index], index, size, proof, leaf_hash(b"x"))
    assert edge_root(edge) == root(leaves[:start])


CT_LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.parametrize("size", range(len(CT_ROOTS)))
def test_tree_agrees_with_the_vectors_of_rfc_6962(size: int) -> None:
    """The roots that Certificate Transparency's own test data has for its first leaves."""
    assert root([leaf_hash(bytes.fromhex(each)) for each in CT_LEAVES[:size]]).hex() == CT_ROOTS[size]


def test_proof_agrees_with_the_vectors_of_rfc_6962() -> None:
    """The inclusion proof that Certificate Transparency's own test data has for leaf 3 of 3."""
    leaves = [leaf_hash(bytes.fromhex(each)) for each in CT_LEAVES]
    assert [each.hex() for each in Tree(leaves[:3]).inclusion(2)] == [CT_ROOTS[2]]
    assert [each.hex() for each in Tree(leaves[:5]).inclusion(4)] == [CT_ROOTS[4]]


RFC_8032 = {
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a": (
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c": (
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025": (
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
}


@pytest.mark.parametrize("public", RFC_8032)
def test_plain_python_ed25519_agrees_with_rfc_8032(public: str) -> None:
    """The verifier that runs with nothing installed accepts RFC 8032's vectors, and no altered one."""
    text, signature = (bytes.fromhex(part) for part in RFC_8032[public])
    key = bytes.fromhex(public)
    assert ed25519_verifies(key, text, signature)
    assert not ed25519_verifies(key, text + b"x", signature)
    for place in (0, 31, 32, 63):
        altered = bytearray(signature)
        altered[place] ^= 1
        assert not ed25519_verifies(key, text, bytes(altered))


@given(st.binary(max_size=64), st.integers(0, 63), st.integers(0, 255))
def test_plain_python_ed25519_agrees_with_openssl(text: bytes, place: int, flip: int) -> None:
    """What OpenSSL signed holds, and with any one byte altered it does not."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = Signer(private).key("o")
    signature = bytearray(private.sign(text))
    signature[place] ^= flip
    assert ed25519_verifies(key.public, text, bytes(signature)) is (flip == 0)


SIGNED_NOTES = {
    # The example of the specification, c2sp.org/signed-note.
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k": (
        "This is an example message.\n",
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
    ),
    # The example of Go's own package for these notes, golang.org/x/mod/sumdb/note.
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW": (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
    ),
}


@pytest.mark.parametrize("published", SIGNED_NOTES)
def test_published_signed_notes_are_opened_and_altered_ones_are_not(published: str) -> None:
    """Notes that others signed hold here, in both verifiers, and no longer when a letter is changed."""
    text, signature = SIGNED_NOTES[published]
    key = VerifierKey.of(published)
    note = f"{text}\n\u2014 {key.name} {signature}\n"
    assert open_note(note, [key]) == text
    assert ed25519_verifies(key.public, text.encode(), base64.b64decode(signature)[4:])
    with pytest.raises(BadNoteError, match="does not fit"):
        open_note(note.replace("is", "was", 1), [key])
    with pytest.raises(BadNoteError, match="no known key"):
        open_note(note, [replace(key, name="other")])


def test_a_verifier_key_survives_writing_and_reading_and_a_damaged_one_is_refused() -> None:
    """The published form of a key is the one form, and its id guards it."""
    for published in SIGNED_NOTES:
        assert VerifierKey.of(published).text == published
        name, key_id, rest = published.split("+", 2)
        with pytest.raises(BadNoteError, match="id does not belong"):
            VerifierKey.of(f"{name}+{int(key_id, 16) ^ 1:08x}+{rest}")


def test_the_offline_table_of_states_is_the_engines_own() -> None:
    """What may follow what is one table, though the standalone verifier carries a copy."""
    assert {state: set(follow) for state, follow in NEXT.items()} == {
        state.value: {each.value for each in follow} for state, follow in TRANSITIONS.items()
    }
