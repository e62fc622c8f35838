"""Write one evidence file for one change, and check it: what was planned, who agreed to that, what ran, who says so."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from passgate.errors import RecordError
from passgate.ledger import offline
from passgate.ledger.canonical import canonical
from passgate.ledger.tree import Tree
from passgate.ledger.verify import Row
from passgate.model.plan import Plan

__all__ = ["BadEvidence", "Evidence", "EvidenceData", "verify_evidence", "write_evidence"]

Evidence = offline.Evidence
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""A fixed time for all files in the archive, so that the same record gives the same bytes."""


@dataclass(frozen=True)
class BadEvidence:
    """Say which file of an evidence file is wrong, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class EvidenceData:
    """Hold what an evidence file is made of: the change's own events, and the signed tree that they are in.

    `tables` are the files, by name, whose SHA-256 these events tell.
    """

    change: str
    plan: Plan | None
    rows: tuple[Row, ...]
    tree: Tree
    note: str
    anchors: tuple[str, ...]
    tables: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def told(self) -> Iterator[dict[str, Any]]:
        """Return what the change's events say, in order."""
        return (json.loads(row.body)["data"] for row in self.rows)


def write_evidence(path: Path, data: EvidenceData) -> str:
    """Write the evidence file in one move and return its SHA-256; the same data gives the same bytes."""
    files = _files(data)
    files["manifest.json"] = offline.manifest(data.change, files)
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                bundle.writestr(entry, files[name])
        draft.replace(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecordError(
            f"The evidence of {data.change} can't be written to {path}: {error.strerror}.",
            hint="Check owner, mode and free space; it can be written again at any time.",
        ) from error


def verify_evidence(path: Path, key: str) -> Evidence | BadEvidence:
    """Check an evidence file with the verifier key, as the file's own verify.py does."""
    try:
        return offline.check(path, key)
    except offline.BadEvidenceError as error:
        return BadEvidence(error.file, error.reason)


def _files(data: EvidenceData) -> dict[str, bytes]:
    plan = data.plan.model_dump(mode="json") if data.plan else {}
    files = offline.told_by([json.loads(row.body) for row in data.rows])
    files |= {
        "plan.json": canonical(plan),
        "plan.txt": offline.plan_words(plan).encode(),
        "events.jsonl": b"".join(row.body + b"\n" for row in data.rows),
        "checkpoint.txt": data.note.encode(),
        "anchors.txt": "".join(f"{line}\n" for line in data.anchors).encode(),
        "verify.py": Path(offline.__file__).read_bytes(),
    }
    files |= {f"{offline.TABLES}{name}": content for name, content in data.tables.items()}
    for row in data.rows:
        proof = data.tree.inclusion(row.seq - 1)
        files[f"proofs/{row.seq}.tlog-proof"] = _proof_text(row.seq - 1, proof, data.note).encode()
    return files


def _proof_text(index: int, proof: Sequence[bytes], note: str) -> str:
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof)
    return f"{offline.PROOF_HEADER}\nindex {index}\n{hashes}\n{note}"
