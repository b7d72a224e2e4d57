"""The entries of the left rail. A slice's `pages.py` declares `NAV = [NavItem(...)]`; `server.py` collects them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class NavItem:
    """One entry of the rail.

    `icon` is a name of `static/icons.txt`. `path` is relative to the project (`runs` -> `/p/<slug>/runs`) unless it starts
    with `/`. `also` are further paths at which a reader is inside the entry (`compare` is inside runs). Entries are shown
    by `order` (tens, so that others fit between) to those who may `verb` in the project.
    """

    label: str
    icon: str
    path: str
    order: int
    verb: str = "view"
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class NavLink:
    """A NavItem as it stands on one page: with its address, and whether the reader is inside it."""

    label: str
    icon: str
    url: str
    active: bool


def address(item: NavItem, slug: str | None) -> str | None:
    """The item's URL in project `slug`; None for a project's entry outside of any project."""
    if item.path.startswith("/"):
        return item.path
    if slug is None:
        return None
    return f"/p/{slug}/{item.path}" if item.path else f"/p/{slug}"


def links(items: Iterable[NavItem], *, slug: str | None, current: str, allowed: Callable[[str], bool]) -> list[NavLink]:
    """The entries to show on the page at path `current`, in their order; the one with the longest match is active."""
    shown = [
        (item, url)
        for item in sorted(items, key=lambda item: (item.order, item.label))
        if (url := address(item, slug)) is not None and allowed(item.verb)
    ]
    inside = {
        url: len(place)
        for item, url in shown
        for place in (url, *(f"/p/{slug}/{path}" for path in item.also))
        if current == place or (item.path not in ("", "/") and current.startswith(place + "/"))
    }
    best = max(inside, key=lambda url: inside[url], default="")
    return [NavLink(item.label, item.icon, url, url == best) for item, url in shown]
