"""Members of projects and the invitations that make them."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.engines.host import Host
from headway.errors import Conflict, NotFound, Unprocessable
from headway.people import audit, guard, names, service, tokens
from headway.people.cache import forget
from headway.people.rules import OWN, ROLES, VIEW, Who
from headway.people.tables import Link, Member, User

INVITE_DAYS = 7
_DAY_MS = 86_400_000


def roles_of(db: Session, user_id: str) -> dict[str, str]:
    """The person's role by project."""
    return {m.project_id: m.role for m in db.scalars(select(Member).where(Member.user_id == user_id))}


def listed(db: Session, who: Who, project_id: str) -> list[tuple[Member, User]]:
    """The members of a project, owners first, for everybody who may see it."""
    guard.check(db, who, VIEW, project_id)
    query = select(Member, User).join(User, User.id == Member.user_id).where(Member.project_id == project_id)
    order = list(reversed(ROLES))
    return sorted(((m, u) for m, u in db.execute(query)), key=lambda pair: (order.index(pair[0].role), pair[1].name))


def add(db: Session, project_id: str, user_id: str, role: str) -> Member:
    """Make somebody a member, or give a member another role. Checks nobody's rights: callers have."""
    _known_role(role)
    member = db.get(Member, (project_id, user_id))
    if member is None:
        member = Member(project_id=project_id, user_id=user_id, role=role, since=now_ms())
        db.add(member)
    member.role = role
    db.flush()
    return member


def set_role(db: Session, who: Who, project_id: str, user_id: str, role: str) -> None:
    """Give a member another role. The last owner stays one."""
    guard.check(db, who, OWN, project_id)
    _known_role(role)
    member = _member(db, project_id, user_id)
    if member.role == "owner" and role != "owner":
        _not_the_last_owner(db, project_id)
    member.role = role
    audit.note(db, who, "member.role", service.by_id(db, user_id).name, project_id=project_id, role=role)


def remove(db: Session, who: Who, project_id: str, user_id: str) -> None:
    """Take somebody out of a project, and end their tokens for it; anybody may leave. The last owner can't."""
    if user_id != who.user_id:
        guard.check(db, who, OWN, project_id)
    elif guard.role(db, who.user_id, project_id) is None:
        guard.check(db, who, VIEW, project_id)
    member = _member(db, project_id, user_id)
    if member.role == "owner":
        _not_the_last_owner(db, project_id)
    db.delete(member)
    tokens.revoke_all(db, user_id, project_id)
    forget(db)
    audit.note(db, who, "member.remove", service.by_id(db, user_id).name, project_id=project_id)


def invite(db: Session, who: Who, host: Host, project_id: str | None, role: str, note: str = "") -> str:
    """A link that makes whoever opens it a member, once, within seven days. Without a project: a user of this server."""
    guard.check(db, who, OWN, project_id)
    if project_id is not None:
        _known_role(role)
    note = names.one_line(note, "note")
    secret = service.new_link(db, kind="invite", made_by=who.user_id, project_id=project_id, role=role, note=note,
                              life_ms=INVITE_DAYS * _DAY_MS)  # fmt: skip
    audit.note(db, who, "member.invite", note or role, project_id=project_id, role=role)
    return f"{host.settings.url}/join?invitation={quote(secret)}"


def invitations(db: Session, who: Who, project_id: str | None) -> list[Link]:
    """Invitations that nobody took yet."""
    guard.check(db, who, OWN, project_id)
    query = select(Link).where(
        Link.kind == "invite", Link.project_id == project_id, Link.used_at.is_(None), Link.expires_at > now_ms()
    )
    return list(db.scalars(query.order_by(Link.created_at.desc())))


def withdraw(db: Session, who: Who, project_id: str | None, link_id: str) -> None:
    """Make an invitation worthless."""
    guard.check(db, who, OWN, project_id)
    row = db.get(Link, link_id)
    if row is None or row.kind != "invite" or row.project_id != project_id or row.used_at is not None:
        raise NotFound("There is no such invitation.")
    db.delete(row)
    audit.note(db, who, "member.withdraw", row.note or row.role, project_id=project_id)


def accept(db: Session, user: User, secret: str) -> str | None:
    """Use up an invitation for `user`; the id of the project they are now in. A role they have is never lowered."""
    row = service.link(db, secret, "invite")
    row.used_at, row.used_by = now_ms(), user.id
    if row.project_id is not None:
        have = guard.role(db, user.id, row.project_id)
        if have is None or ROLES[have] < ROLES[row.role]:
            add(db, row.project_id, user.id, row.role)
    audit.note(db, service.as_who(user), "member.join", user.name, project_id=row.project_id, role=row.role)
    return row.project_id


def _member(db: Session, project_id: str, user_id: str) -> Member:
    member = db.get(Member, (project_id, user_id))
    if member is None:
        raise NotFound("There is no such member.")
    return member


def _known_role(role: str) -> None:
    if role not in ROLES:
        raise Unprocessable(f"Unknown role '{role}'.", hint="One of " + ", ".join(ROLES), field="role")


def _not_the_last_owner(db: Session, project_id: str) -> None:
    owners = select(func.count()).select_from(Member).where(Member.project_id == project_id, Member.role == "owner")
    if (db.scalar(owners) or 0) <= 1:
        raise Conflict("This is the project's last owner.", hint="Make somebody else an owner first.")
