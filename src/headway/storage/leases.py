"""Leases: the one answer to "who works on this".

A lease is a row with an owner and an end. Whoever holds it renews it; when its owner is gone it runs out and another takes
it. Taking is one conditional write, so of two servers one wins.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, String, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from headway.clock import now_ms
from headway.storage.database import Base


class Lease(Base):
    """Who holds what until when (milliseconds since the epoch)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    until: Mapped[int] = mapped_column(BigInteger)


def take(db: Session, name: str, owner: str, seconds: float) -> bool:
    """Take or renew the lease `name` for `owner`; False if somebody else holds it."""
    moment = now_ms()
    until = moment + int(seconds * 1000)
    changed = db.execute(
        update(Lease)
        .where(Lease.name == name, (Lease.owner == owner) | (Lease.until < moment))
        .values(owner=owner, until=until)
    )
    if changed.rowcount:  # type: ignore[attr-defined]
        return True
    if db.scalar(select(Lease.name).where(Lease.name == name)) is not None:
        return False
    try:
        with db.begin_nested():
            db.add(Lease(name=name, owner=owner, until=until))
    except IntegrityError:
        return False
    return True


def release(db: Session, name: str, owner: str) -> None:
    """Give the lease back, if it is still ours."""
    db.execute(delete(Lease).where(Lease.name == name, Lease.owner == owner))
