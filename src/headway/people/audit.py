"""The audit log: who did what to what, append-only, each line chained to the one before by its hash.

A line that was changed, removed or slipped in breaks the chain, and `verify` says where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.people.rules import Who
from headway.people.tables import AuditHead, AuditLine

_START = "0" * 64
_SUBJECT_LIMIT = 400
_BATCH = 1000
# Details are for people to read; what looks like a secret never gets there, whatever a caller hands in.
_SECRET_WORDS = ("password", "secret", "token", "key", "credential")


def note(db: Session, who: Who, verb: str, subject: str, *, project_id: str | None = None, **details: Any) -> None:
    """Add one line in the caller's transaction: `note(db, who, "endpoint.deploy", "churn", project_id=..., revision=3)`."""
    head = db.scalar(select(AuditHead).where(AuditHead.id == 1).with_for_update())
    if head is None:
        head = AuditHead(id=1, seq=0, hash=_START)
        db.add(head)
        db.flush()
    line = AuditLine(
        seq=head.seq + 1,
        at=now_ms(),
        user_id=who.user_id,
        user_name=who.name,
        kind=who.kind,
        verb=verb,
        subject=subject[:_SUBJECT_LIMIT],
        project_id=project_id,
        details=json.dumps(_readable(details), sort_keys=True, default=str),
        previous=head.hash,
    )
    line.hash = _hash(line)
    db.add(line)
    db.execute(update(AuditHead).where(AuditHead.id == 1).values(seq=line.seq, hash=line.hash))
    db.flush()
    db.expire(head)


def page(
    db: Session, *, projects: Sequence[str] | None, before: int | None = None, limit: int = 100
) -> list[AuditLine]:
    """The newest lines first, at most `limit`, older than line `before`. `projects` None: of all, and of the server."""
    query = select(AuditLine).order_by(AuditLine.seq.desc()).limit(limit)
    if projects is not None:
        query = query.where(AuditLine.project_id.in_(projects))
    if before is not None:
        query = query.where(AuditLine.seq < before)
    return list(db.scalars(query))


def as_dict(line: AuditLine) -> dict[str, Any]:
    """A line as JSON."""
    return {"seq": line.seq, "at": line.at, "who": line.user_name, "user_id": line.user_id, "kind": line.kind,
            "verb": line.verb, "subject": line.subject, "project_id": line.project_id, "details": json.loads(line.details),
            "hash": line.hash}  # fmt: skip


def verify(db: Session, last: int | None = None) -> int | None:
    """None if the chain holds, else the number of the first line that does not; `last`: look at so many lines only."""
    head = db.get(AuditHead, 1)
    previous, seq = _START, 0
    if last is not None and head is not None and head.seq > last:
        seq = head.seq - last
        previous = db.scalar(select(AuditLine.hash).where(AuditLine.seq == seq)) or ""
    while lines := list(db.scalars(select(AuditLine).where(AuditLine.seq > seq).order_by(AuditLine.seq).limit(_BATCH))):
        for line in lines:
            seq += 1
            if line.seq != seq or line.previous != previous or line.hash != _hash(line):
                return seq
            previous = line.hash
    if head is not None and (head.seq, head.hash) != (seq, previous):
        return seq + 1
    return None


def _hash(line: AuditLine) -> str:
    fields = [line.seq, line.at, line.user_id, line.user_name, line.kind, line.verb, line.subject, line.project_id,
              line.details, line.previous]  # fmt: skip
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def _readable(details: dict[str, Any]) -> dict[str, Any]:
    return {k: "(hidden)" if any(word in k.lower() for word in _SECRET_WORDS) else v for k, v in details.items()}
