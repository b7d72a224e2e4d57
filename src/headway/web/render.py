"""Pages, fragments and redirects: the one place where HTML is made.

Templates are addressed by slice: `tracking/run.html` is `src/headway/tracking/templates/run.html`. Everything is escaped,
an unknown name in a template is an error, and nothing is written inline: the content security policy allows `'self'` only.
"""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined

import headway
from headway.errors import HeadwayError
from headway.web import assets, nav, show

FLASH_COOKIE = "hw_flash"
THEME_COOKIE = "hw_theme"
_FLASH_LIMIT = 300
_FLASH_KINDS = ("ok", "warn", "bad")
_TITLES = {
    401: "Please sign in",
    403: "Not allowed for you",
    404: "Not found",
    409: "That can't be done right now",
    413: "Too large",
    429: "Slow down a little",
    500: "Something went wrong",
    503: "Not available right now",
    507: "The disk is full",
}


@cache
def environment() -> Environment:
    """The template environment; slices are the folders of the package that have `templates/`."""
    root = Path(headway.__file__).parent
    folders = {folder.parent.name: folder for folder in sorted(root.glob("*/templates"))}
    loader = PrefixLoader({name: FileSystemLoader(folder) for name, folder in folders.items()})
    env = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    counter = itertools.count(1)
    env.globals.update(
        static=assets.url,
        uid=lambda: f"u{next(counter) % 1_000_000}",
        status_of=show.status_of,
        version=headway.__version__,
    )
    env.filters.update(show.FILTERS)
    return env


def page(
    request: Request,
    template: str,
    *,
    who: Any = None,
    project: Any = None,
    title: str = "",
    status: int = 200,
    **context: Any,
) -> HTMLResponse:
    """A whole page. `who` is the reader (else `request.state.who`), `project` (with `.id`, `.slug`, `.name`) fills the rail."""
    who = who if who is not None else getattr(request.state, "who", None)
    can = _rights(request, who, project)
    items = getattr(request.app.state, "nav", ())
    links = nav.links(items, slug=getattr(project, "slug", None), current=request.url.path, allowed=can)
    flash = _read_flash(request)
    context |= {"who": who, "project": project, "title": title, "nav": links, "flash": flash, "can": can}
    response = HTMLResponse(_render(request, template, context), status_code=status)
    # htmx follows a redirect by itself and shows only the address: the page that the reader then opens shows the message
    if flash is not None and "hx-request" not in request.headers:
        response.delete_cookie(FLASH_COOKIE)
    return response


def fragment(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A part of a page, for htmx. Has `who`, `csrf` and `can` like a page."""
    who = context.setdefault("who", getattr(request.state, "who", None))
    context.setdefault("can", _rights(request, who, context.setdefault("project", None)))
    return HTMLResponse(_render(request, template, context), status_code=status)


def error(request: Request, problem: HeadwayError) -> HTMLResponse:
    """The page (or, for htmx, the part of a page) that says what went wrong, what to do next, and who can do it."""
    if "hx-request" in request.headers:
        return fragment(request, "web/_error.html", status=problem.status, problem=problem)
    title = _TITLES.get(problem.status, "That did not work")
    return page(request, "web/error.html", title=title, status=problem.status, problem=problem)


def redirect(url: str, flash: str = "", kind: str = "ok") -> Response:
    """303 to `url`, with a message shown once on the page there. `kind`: ok, warn or bad. htmx forms follow it too (app.js)."""
    response = RedirectResponse(url, status_code=303)
    if flash:
        value = quote(f"{kind if kind in _FLASH_KINDS else 'ok'}:{flash[:_FLASH_LIMIT]}")
        response.set_cookie(FLASH_COOKIE, value, max_age=60, httponly=True, samesite="lax")
    return response


def with_query(request: Request, **changes: Any) -> str:
    """The page's own address with some query values replaced; None removes one. The state of a page is its URL."""
    values = [(key, value) for key, value in request.query_params.multi_items() if key not in changes]
    for key, value in changes.items():
        if isinstance(value, (list, tuple)):
            values += [(key, str(item)) for item in value]
        elif value is not None:
            values.append((key, str(value)))
    return request.url.path + ("?" + urlencode(values) if values else "")


def _render(request: Request, template: str, context: dict[str, Any]) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    base = {
        "request": request,
        "csrf": getattr(request.state, "csrf", ""),
        "theme": theme if theme in ("light", "dark") else "",
        "here": lambda **changes: with_query(request, **changes),
    }
    return environment().get_template(template).render(base | context)


def _rights(request: Request, who: Any, project: Any) -> Callable[[str], bool]:
    """`can(verb)` for templates: what the reader may do in this project, as `app.state.may` (set by server.py) says."""
    may = getattr(request.app.state, "may", None)
    project_id = getattr(project, "id", None)
    return lambda verb: (
        who is not None and (may is None or project_id is None or bool(may(request, who, verb, project_id)))
    )


def _read_flash(request: Request) -> tuple[str, str] | None:
    raw = request.cookies.get(FLASH_COOKIE)
    if not raw:
        return None
    kind, colon, text = unquote(raw).partition(":")
    return (kind, text[:_FLASH_LIMIT]) if colon and kind in _FLASH_KINDS and text else None
