"""Promise: an evidence file that was altered in any way is refused, by us and by the program that is in the file."""

from __future__ import annotations

import io
import json
import string
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passgate.ledger import offline
from passgate.ledger.canonical import canonical
from passgate.ledger.evidence import BadEvidence, Evidence, EvidenceData, verify_evidence, write_evidence
from passgate.ledger.note import Checkpoint
from passgate.ledger.signer import Signer
from passgate.ledger.tree import leaf_hash, root
from tests.record_story import ORIGIN, open_store, waiting_change, whole_change

Files = dict[str, bytes]


@dataclass(frozen=True)
class Given:
    """Hold two whole changes of one ledger: their evidence, the older one's as it was at first, and the key."""

    files: Files
    other: Files
    data: EvidenceData
    key: str
    signer: Signer


@pytest.fixture(scope="module", name="clean")
def _clean(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder: Path = tmp_path_factory.mktemp("evidence")
    store = open_store(folder)
    one, two = whole_change(store), whole_change(store)
    waiting_change(store)
    data = store.evidence_data(one.id)
    write_evidence(folder / "one.zip", data)
    write_evidence(folder / "two.zip", store.evidence_data(two.id))
    signer = Signer.load_or_create(folder / "ledger.key")
    store.close()
    return Given(unpacked(folder / "one.zip"), unpacked(folder / "two.zip"), data, signer.key(ORIGIN).text, signer)


def unpacked(path: Path) -> Files:
    """Return the files in an evidence file."""
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def packed(files: Files) -> bytes:
    """Pack files as they are."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return raw.getvalue()


def listed(files: Files) -> Files:
    """Return the files with a manifest that fits them, as somebody would make it who alters one with care."""
    return {**files, "manifest.json": offline.manifest(json.loads(files["manifest.json"])["change"], files)}


def with_plan(files: Files, **fields: object) -> Files:
    """Return the files with another plan, in both of its forms."""
    plan = json.loads(files["plan.json"]) | fields
    return {**files, "plan.json": canonical(plan), "plan.txt": offline.plan_words(plan).encode()}


def without(files: Files, *names: str) -> Files:
    """Return the files without some."""
    return {name: content for name, content in files.items() if name not in names}


def with_event(files: Files, at: int, edit: Callable[[dict[str, object]], object]) -> Files:
    """Return the files with one event edited, and all views of the events made anew."""
    events = [json.loads(line) for line in files["events.jsonl"].splitlines()]
    edit(events[at])
    lines = b"".join(canonical(event) + b"\n" for event in events)
    return {**files, **offline.told_by(events), "events.jsonl": lines}


def decided_by_carol(event: dict[str, object]) -> None:
    """Put another name under the decision."""
    event["data"]["person"] = event["actor"]["person"] = "carol"  # type: ignore[index]  # JSON


def cut(files: Files) -> Files:
    """Leave the last event out, with its proof."""
    lines = files["events.jsonl"].splitlines(keepends=True)
    last = json.loads(lines[-1])["seq"]
    return without({**files, "events.jsonl": b"".join(lines[:-1])}, f"proofs/{last}.tlog-proof")


def signed_by(given: Given, size: int, head: bytes) -> Files:
    """Put another signed head into the file and all proofs."""
    note = given.signer.sign(Checkpoint(ORIGIN, size, head))
    old = given.files["checkpoint.txt"]
    return {name: content.replace(old, note.encode()) for name, content in given.files.items()}


def grafted(given: Given) -> Files:
    """Tell the other change's story under this one's proofs."""
    own, theirs = ([name for name in files if name.startswith("proofs/")] for files in (given.files, given.other))
    moved = {name: given.files[proof] for name, proof in zip(theirs, own, strict=True)}
    return {**without(given.other, *theirs), **moved}


def respelt(proof: bytes) -> bytes:
    """Write the first hash with another last letter that stands for the same bytes."""
    letters = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/").encode()
    last = proof.index(b"=\n") - 1
    other = letters[letters.index(proof[last]) ^ 1]
    return proof[:last] + bytes([other]) + proof[last + 1 :]


FIRST_PROOF = "proofs/1.tlog-proof"
DECISION = 3
CASES: dict[str, tuple[Callable[[Given], Files], str, str]] = {
    "missing file": (lambda g: without(g.files, "plan.txt"), "plan.txt", "missing"),
    "missing file, manifest made to fit": (lambda g: listed(without(g.files, "plan.txt")), "plan.txt", "missing"),
    "other change's manifest": (
        lambda g: {**g.files, "manifest.json": offline.manifest("CHG-0009", g.files)}, "manifest.json", "not the one",
    ),
    "manifest that is none": (lambda g: {**g.files, "manifest.json": b"{}"}, "manifest.json", "can't be read"),
    "missing manifest": (lambda g: without(g.files, "manifest.json"), "manifest.json", "missing"),
    "missing proof": (lambda g: listed(without(g.files, FIRST_PROOF)), FIRST_PROOF, "missing"),
    "extra file": (lambda g: {**g.files, "note.txt": b"approved"}, "note.txt", "not in its manifest"),
    "extra file, manifest made to fit": (
        lambda g: listed({**g.files, "note.txt": b"approved"}), "note.txt", "nothing of this name",
    ),
    "altered file": (lambda g: {**g.files, "plan.txt": b"Nothing"}, "plan.txt", "altered or exchanged"),
    "swapped plan": (lambda g: listed(with_plan(g.files, target="win-99")), "plan.json", "not the plan"),
    "other title": (lambda g: listed(with_plan(g.files, title="Harmless")), "plan.json", "called otherwise"),
    "no plan": (lambda g: listed({**g.files, "plan.json": b"{}"}), "plan.json", "not the plan"),
    "plan in other words": (lambda g: listed({**g.files, "plan.txt": b"Nothing"}), "plan.txt", "does not say"),
    "other policy": (lambda g: listed({**g.files, "policy.json": b"{}"}), "policy.json", "does not say"),
    "edited decision": (
        lambda g: listed({**g.files, "decisions.json": g.files["decisions.json"].replace(b"bob", b"eve")}),
        "decisions.json", "does not say",
    ),
    "edited decision, everywhere": (
        lambda g: listed(with_event(g.files, DECISION, decided_by_carol)), "proofs/4.tlog-proof", "not in this ledger",
    ),
    "decision by who asked": (
        lambda g: listed(with_event(g.files, DECISION, lambda one: one["data"].update(person="alice"))),  # type: ignore[attr-defined]  # JSON
        "events.jsonl", "a change of their own",
    ),
    "other change's proof": (lambda g: listed(grafted(g)), "proofs/14.tlog-proof", "something else"),
    "proof of another tree": (
        lambda g: listed(signed_by(g, g.data.tree.size, root([leaf_hash(b"x")]))), FIRST_PROOF, "not in this ledger",
    ),
    "old checkpoint": (lambda g: listed(signed_by(g, 2, root([leaf_hash(b"x")] * 2))), FIRST_PROOF, "not in this"),
    "checkpoint without its signature": (
        lambda g: listed({**g.files, "checkpoint.txt": g.files["checkpoint.txt"].rpartition(b"\n\n")[0]}),
        "checkpoint.txt", "no signed note",
    ),
    "altered checkpoint": (
        lambda g: listed({**g.files, "checkpoint.txt": g.files["checkpoint.txt"].replace(b"\n", b"\n1", 1)}),
        "checkpoint.txt", "signature is wrong",
    ),
    "last events cut off": (lambda g: listed(cut(g.files)), "events.jsonl", "the last events are missing"),
    "step left out": (
        lambda g: listed({**g.files, "steps.jsonl": g.files["steps.jsonl"].partition(b"\n")[2]}),
        "steps.jsonl", "does not say",
    ),
    "anchor of another ledger": (
        lambda g: listed({**g.files, "anchors.txt": b"t other 1 AAAA BBBB\n"}), "anchors.txt", "not signed with",
    ),
    "proof spelt otherwise": (
        lambda g: listed({**g.files, FIRST_PROOF: respelt(g.files[FIRST_PROOF])}), FIRST_PROOF, "no base64 as it is",
    ),
    "anchor of another time": (
        lambda g: listed({**g.files, "anchors.txt": g.files["anchors.txt"].replace(b"2026", b"2025", 1)}),
        "anchors.txt", "was recorded at 2025",
    ),
    "anchor that is none": (lambda g: listed({**g.files, "anchors.txt": b"x\n"}), "anchors.txt", "no anchor line"),
}  # fmt: skip


def judged(path: Path, key: str) -> BadEvidence | Evidence:
    """Check a file in this process and with the program that a stranger runs; both must say the same."""
    found = verify_evidence(path, key)
    program = [sys.executable, "-I", offline.__file__, str(path), key]
    alone = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env={})
    if isinstance(found, BadEvidence):
        assert alone.returncode == 1
        assert alone.stderr.startswith(f"NOT PROVEN. {found.file}: {found.reason}. ")
        assert "Traceback" not in alone.stderr
    else:
        assert (alone.returncode, alone.stdout) == (0, f"{found.words}\n")
    return found


@pytest.mark.parametrize(
    ("decided", "said"),
    [
        ({}, "It was approved by bob, on exactly the plan in plan.txt (sha256:"),
        ({"approved_by": ("bob", "carol")}, "It was approved by bob, carol, each on exactly the plan in plan.txt ("),
        ({"denied_by": ("dave",)}, "It was approved by bob, denied by dave, each on exactly the plan in plan.txt ("),
        ({"approved_by": ()}, "It was decided on by nobody; it had the plan in plan.txt ("),
        (
            {"approved_by": (), "pre_authorised": "standard"},
            "It was allowed beforehand by the policy 'standard'; it had the plan in plan.txt (",
        ),
        ({"approved_by": (), "digest": ""}, "It was decided on by nobody, as no plan was made."),
    ],
)
def test_who_decided_is_said_right_for_none_one_and_several(
    clean: Given, tmp_path: Path, decided: dict[str, Any], said: str
) -> None:
    """Each decision is on exactly the plan; where there is none, nothing is said of any."""
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(packed(clean.files))
    found = verify_evidence(bundle, clean.key)
    assert isinstance(found, Evidence)
    assert said in replace(found, **decided).words


@pytest.mark.parametrize("name", CASES)
def test_each_way_of_tampering_is_named_with_its_file_and_reason(clean: Given, tmp_path: Path, name: str) -> None:
    """The tamper corpus of evidence files: ours and the standalone verifier name the same file and reason."""
    tamper, file, reason = CASES[name]
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(packed(tamper(clean)))
    found = judged(bundle, clean.key)
    assert isinstance(found, BadEvidence), found
    assert (found.file, reason in found.reason) == (file, True), found


def test_an_untouched_file_is_proven_and_a_foreign_key_proves_nothing(clean: Given, tmp_path: Path) -> None:
    """Packed anew by other software the same files are as good; under another key, or none, they prove nothing."""
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(packed(clean.files))
    assert isinstance(judged(bundle, clean.key), Evidence)
    foreign = Signer.load_or_create(tmp_path / "foreign.key").key(ORIGIN).text
    for key, reason in ((foreign, "not signed with the given key"), ("x", "not of the form"), ("", "not of the form")):
        found = judged(bundle, key)
        assert isinstance(found, BadEvidence)
        assert (found.file, reason in found.reason) == ("checkpoint.txt", True), found
    bundle.write_bytes(b"PK")
    assert isinstance(judged(bundle, clean.key), BadEvidence)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data())
def test_no_mutation_of_any_byte_of_any_file_is_ever_proven(clean: Given, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever byte of whatever file is changed, with a manifest that fits or not, the verdict is a finding."""
    name = data.draw(st.sampled_from(sorted(without(clean.files, "verify.py"))))
    content = clean.files[name]
    if not content:
        return
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    files = {**clean.files, name: content[:place] + bytes([byte]) + content[place + 1 :]}
    refit = name != "manifest.json" and data.draw(st.booleans())
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(packed(listed(files) if refit else files))
    found = verify_evidence(bundle, clean.key)
    assert isinstance(found, BadEvidence), (name, place, byte)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.data())
def test_no_mutation_of_the_archive_itself_ends_in_a_crash(clean: Given, tmp_path: Path, data: st.DataObject) -> None:
    """A damaged archive is a finding in words; where the damage touches nothing that counts, the file is as proven."""
    raw = bytearray(packed(clean.files))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    bundle = tmp_path / "evidence.zip"
    bundle.write_bytes(raw)
    found = verify_evidence(bundle, clean.key)
    assert isinstance(found, BadEvidence) or unpacked(bundle) == clean.files


def test_the_verifier_in_the_file_is_the_one_that_we_run(clean: Given) -> None:
    """The program in the evidence is ours byte for byte, and is listed in the manifest."""
    assert clean.files["verify.py"] == Path(offline.__file__).read_bytes()
    assert replace(clean.data, rows=clean.data.rows[:-1]) != clean.data
