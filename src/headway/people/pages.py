"""Pages on which somebody says who they are: sign-in, first start, invitation, and their own settings."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request, Response

from headway.clock import now_ms
from headway.errors import HeadwayError, NotFound, TooMany, Unauthenticated
from headway.people import guard, members, names, passwords, service, sessions
from headway.people.guard import Maybe, Person
from headway.people.tables import User
from headway.web.edge import Db, HostDep, ReadDb
from headway.web.forms import Form as Posted
from headway.web.render import THEME_COOKIE, page, redirect

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form()]


def safe_next(target: str) -> str:
    """Where to go after signing in: an address on this server, never another site (`//evil`, `/\\evil`, `https:`)."""
    plain = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() and "\\" not in target
    )
    parts = urlsplit(target) if plain else None
    return target if parts is not None and not parts.netloc and not parts.scheme and len(target) < 2000 else "/"


def tabs_of(who: Any) -> list[tuple[str, str]]:
    """The settings' sub-pages this person may open."""
    tabs = [("Profile", "/settings"), ("Tokens", "/settings/tokens"), ("Machine", "/settings/machine")]
    return (
        [*tabs, ("People", "/people"), ("Audit log", "/settings/audit")]
        if who.admin
        else [*tabs, ("Audit log", "/settings/audit")]
    )


def _enter(request: Request, db: Db, host: HostDep, user: User, *, by: str, to: str, flash: str = "") -> Response:
    """Begin a session for `user`, and go `to`."""
    secret = sessions.begin(db, request, user, host.settings.session_days)
    service.signed_in(db, user, by=by, address=_address(request))
    response = redirect(to, flash)
    sessions.set_cookie(request, response, secret, host.settings.session_days)
    return response


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


# ------------------------------------------------------------------ signing in


@router.get("/login")
def login_page(request: Request, who: Maybe, next: str = "/") -> Response:
    if who is not None and who.kind == "user":
        return redirect(safe_next(next))
    return page(request, "people/login.html", title="Sign in", next=safe_next(next), name="", problem=None)


@router.post("/login")
def login(
    request: Request, host: HostDep, read: ReadDb, db: Db, name: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    try:
        user = service.proven(read, name, password, _address(request))
    except (Unauthenticated, TooMany) as problem:
        context = {"next": safe_next(next), "name": name[:64], "problem": problem}
        response = page(request, "people/login.html", title="Sign in", status=problem.status, **context)
        if isinstance(problem, TooMany):
            response.headers["Retry-After"] = str(problem.details["retry_after"])
        return response
    return _enter(request, db, host, service.by_id(db, user.id), by="password", to=safe_next(next))


@router.post("/logout")
def logout(request: Request, who: Maybe, db: Db) -> Response:
    secret = guard.session_secret(request)
    if who is not None and secret is not None:
        sessions.end(db, secret)
    response = redirect("/login", "You are signed out.")
    sessions.drop_cookie(request, response)
    return response


@router.get("/welcome")
def welcome_page(request: Request, who: Maybe, host: HostDep, db: Db, token: str = "") -> Response:
    if "prefetch" in request.headers.get("sec-purpose", ""):
        return Response(status_code=503)  # a look ahead must not use up the link
    try:
        row = service.link(db, token, "sign_in")
    except NotFound:
        if who is not None and who.kind == "user":
            return redirect("/")
        raise
    user = service.by_id(db, row.user_id or "")
    if user.welcomed_at is None and user.disabled_at is None:
        return _welcome(request, token, {"name": user.name, "full_name": user.full_name}, {})
    service.take_sign_in_link(db, token)
    return _enter(request, db, host, user, by="link", to="/")


@router.post("/welcome")
def welcome(
    request: Request,
    host: HostDep,
    db: Db,
    token: Text = "",
    name: Text = "",
    full_name: Text = "",
    password: Text = "",
) -> Response:
    try:
        hashed = passwords.hash_password(password) if password else None
        with db.begin_nested():
            user = service.take_sign_in_link(db, token)
            service.welcome(db, user, name=name, full_name=full_name, password_hash=hashed)
    except HeadwayError as problem:
        if isinstance(problem, NotFound):
            raise
        return _welcome(
            request, token, {"name": name[:64], "full_name": full_name[:120]}, _errors(problem), problem.status
        )
    return _enter(request, db, host, user, by="link", to="/")


def _welcome(
    request: Request, token: str, values: dict[str, str], errors: dict[str, str], status: int = 200
) -> Response:
    return page(request, "people/welcome.html", title="Welcome to headway", status=status, token=token, values=values,
                errors=errors)  # fmt: skip


def _errors(problem: HeadwayError) -> dict[str, str]:
    return {str(problem.details.get("field", "password")): f"{problem.message} {problem.hint}".strip()}


# ------------------------------------------------------------------ invitations


@router.get("/join")
def join_page(request: Request, who: Maybe, read: ReadDb, invitation: str = "") -> Response:
    row = service.link(read, invitation, "invite")
    made_by = service.by_id(read, row.made_by)
    values = {"name": "", "full_name": row.note}
    return _join(request, who, invitation, made_by.full_name or made_by.name, row.role, values, {})


@router.post("/join")
def join(
    request: Request,
    who: Maybe,
    host: HostDep,
    db: Db,
    invitation: Text = "",
    name: Text = "",
    full_name: Text = "",
    password: Text = "",
) -> Response:
    if who is not None and who.kind == "user":
        members.accept(db, service.by_id(db, who.user_id), invitation)
        return redirect("/", "You are in.")
    try:
        hashed = passwords.hash_password(password)
        with db.begin_nested():
            row = service.link(db, invitation, "invite")
            user = service.create_user(db, name, full_name=full_name, password_hash=hashed)
            user.welcomed_at = now_ms()
            members.accept(db, user, invitation)
    except NotFound:
        raise
    except HeadwayError as problem:
        row = service.link(db, invitation, "invite")
        made_by = service.by_id(db, row.made_by)
        values = {"name": name[:64], "full_name": full_name[:120]}
        return _join(
            request,
            None,
            invitation,
            made_by.full_name or made_by.name,
            row.role,
            values,
            _errors(problem),
            problem.status,
        )
    return _enter(request, db, host, user, by="invitation", to="/", flash="Welcome to headway.")


def _join(request: Request, who: Maybe, invitation: str, made_by: str, role: str, values: dict[str, str],
          errors: dict[str, str], status: int = 200) -> Response:  # fmt: skip
    return page(request, "people/join.html", who=who, title="You are invited", status=status, invitation=invitation,
                made_by=made_by, role=role, values=values, errors=errors,
                login=f"/login?next={quote('/join?invitation=' + invitation, safe='')}")  # fmt: skip


# ------------------------------------------------------------------ one's own settings


@router.get("/settings")
def settings_page(request: Request, who: Person, read: ReadDb) -> Response:
    return _settings(request, who, read, {})


def _settings(
    request: Request, who: Person, db: ReadDb, errors: dict[str, str], values: Any = None, status: int = 200
) -> Response:
    user = service.by_id(db, who.user_id)
    mine = guard.session_secret(request)
    return page(
        request,
        "people/settings.html",
        who=who,
        title="Settings",
        status=status,
        tabs=tabs_of(who),
        user=user,
        values=values or {"name": user.name, "full_name": user.full_name},
        errors=errors,
        browsers=[(one, names.browser(one.browser)) for one in sessions.listed(db, user.id)],
        this_browser=sessions.key(mine) if mine else "",
        theme_choice=request.cookies.get(THEME_COOKIE, "") or "auto",
    )


@router.post("/settings/profile")
def change_profile(request: Request, who: Person, db: Db, name: Text = "", full_name: Text = "") -> Response:
    try:
        with db.begin_nested():
            service.rename(db, who, name=name, full_name=full_name)
    except HeadwayError as problem:
        values = {"name": name[:64], "full_name": full_name[:200]}
        return _settings(request, who, db, _errors(problem), values, problem.status)
    return redirect("/settings", "Your profile is saved.")


@router.post("/settings/password")
def change_password(
    request: Request, who: Person, read: ReadDb, db: Db, old: Text = "", new: Text = "", again: Text = ""
) -> Response:
    form = Posted({"old": old, "new": new, "again": again})
    if new != again:
        form.fail("again", "The two are not the same.")
    try:
        form.check()
        hashed = service.new_password(read, who, old, new, _address(request))
    except HeadwayError as problem:
        return _settings(request, who, read, _errors(problem), status=problem.status)
    service.set_password(db, who, hashed, keep_session=guard.session_secret(request))
    return redirect("/settings", "Your password is changed. All other browsers are signed out.")


@router.post("/settings/sign-out-others")
def sign_out_others(request: Request, who: Person, db: Db) -> Response:
    ended = sessions.end_all(db, who.user_id, but=guard.session_secret(request))
    return redirect("/settings", f"{ended} other {'browser is' if ended == 1 else 'browsers are'} signed out.")


@router.post("/settings/theme")
def change_theme(request: Request, _: Person, theme: Text = "auto") -> Response:
    form = Posted({"theme": theme})
    chosen = form.choice("theme", ("auto", "light", "dark"), default="auto")
    form.check()
    response = redirect("/settings")
    if chosen == "auto":
        response.delete_cookie(THEME_COOKIE)
    else:
        # Not HttpOnly: the switch in the head of each page changes it without a round trip.
        response.set_cookie(
            THEME_COOKIE, chosen, max_age=400 * 86_400, samesite="lax", secure=request.url.scheme == "https"
        )
    return response


# ------------------------------------------------------------------ everybody on this server


@router.get("/people")
def people_page(request: Request, who: Person, db: ReadDb) -> Response:
    everybody = service.users(db, who)
    return page(
        request,
        "people/people.html",
        who=who,
        title="People",
        tabs=tabs_of(who),
        users=everybody,
        invitations=members.invitations(db, who, None),
        counts={user.id: len(members.roles_of(db, user.id)) for user in everybody},
        link=None,
    )


@router.post("/people/invite")
def invite(request: Request, who: Person, db: Db, host: HostDep, note: Text = "") -> Response:
    url = members.invite(db, who, host, None, "", note)
    return _show_link(
        request, who, url, "Invitation", "Send it to the person. It works once, within seven days.", "/people"
    )


@router.post("/people/withdraw")
def withdraw(who: Person, db: Db, invitation: Text = "") -> Response:
    members.withdraw(db, who, None, invitation)
    return redirect("/people", "The invitation is worth nothing now.")


@router.post("/people/{user_id}/link")
def make_link(request: Request, who: Person, db: Db, host: HostDep, user_id: str) -> Response:
    url = service.sign_in_link_for(db, who, host, user_id)
    return _show_link(
        request, who, url, "Sign-in link", "Hand it to the person. It works once, within twelve hours.", "/people"
    )


@router.post("/people/{user_id}/admin")
def change_admin(who: Person, db: Db, user_id: str, admin: Text = "") -> Response:
    user = service.set_admin(db, who, user_id, admin == "yes")
    return redirect(
        "/people", f"{user.full_name or user.name} is {'an' if user.admin else 'no longer an'} administrator."
    )


@router.post("/people/{user_id}/disabled")
def change_disabled(who: Person, db: Db, user_id: str, disabled: Text = "") -> Response:
    user = service.set_disabled(db, who, user_id, disabled == "yes")
    return redirect(
        "/people", f"{user.full_name or user.name} {'is shut out' if user.disabled_at else 'may sign in again'}."
    )


def _show_link(request: Request, who: Person, url: str, title: str, text: str, back: str) -> Response:
    """A link that can be seen once: it is in the answer to the POST and nowhere else."""
    return page(request, "people/link.html", who=who, title=title, url=url, text=text, back=back)
