"""Where a run stands between the data it read and what answers with its models: data, run, models, versions, endpoints.

Later slices say what they know by `SERVING`. The drawing is laid out here; the template only writes it as SVG.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from headway.tracking.store.readout import RunFacts

Versions = list[tuple[str, str]]
SERVING: list[Callable[[Session, str, Versions], Mapping[tuple[str, str], Sequence[tuple[str, str]]]]] = []
"""For versions (model, number) of a project: the endpoints that serve each, as (name, state)."""

WIDTH, HEIGHT, GAP, SPACE = 176, 40, 12, 52
MOST = 6
CHARS = 19


@dataclass(frozen=True)
class Node:
    """`icon` and `label` are drawn, `title` is the whole name, `here` marks the run itself. `feeds` are keys of others."""

    key: str
    icon: str
    label: str
    url: str = ""
    title: str = ""
    note: str = ""
    here: bool = False
    feeds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    node: Node
    x: int
    y: int


@dataclass(frozen=True)
class Drawing:
    """Boxes and the paths between them, in pixels. `heads`: (x, name) of each column."""

    width: int
    height: int
    boxes: list[Placed]
    paths: list[str]
    heads: list[tuple[int, str]]


def serving(db: Session, project_id: str, versions: Versions) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The endpoints that serve these versions, as far as anybody knows."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for ask in SERVING if versions else ():
        for version, its in ask(db, project_id, versions).items():
            found.setdefault(version, []).extend(its)
    return found


def drawn(
    slug: str, run: RunFacts, models: Sequence[Any], registered: Mapping[str, Sequence[tuple[str, str]]],
    served: Mapping[tuple[str, str], Sequence[tuple[str, str]]],
) -> Drawing | None:  # fmt: skip
    """The drawing of a run; None where there is nothing around it."""
    base = f"/p/{slug}/runs/{run.uuid}"
    names: dict[str, Node] = {}
    for item in run.inputs:
        names.setdefault(item.name, Node(f"d:{item.name}", "database", item.name, f"{base}?tab=data", feeds=("run",)))
    endpoints: dict[str, Node] = {}
    versions: dict[tuple[str, str], Node] = {}
    made: list[Node] = []
    for model in models:
        its = [tuple(v) for v in registered.get(model.uuid, ())]
        for name, number in its:
            at = served.get((name, number), ())
            for endpoint, state in at:
                url = f"/p/{slug}/endpoints/{quote(endpoint, safe='')}"
                endpoints[endpoint] = Node(f"e:{endpoint}", "rocket", endpoint, url, note=state)
            versions[name, number] = Node(
                f"v:{name}/{number}", "package", f"{name} {number}", f"/p/{slug}/models/{quote(name, safe='')}/{number}",
                feeds=tuple(f"e:{endpoint}" for endpoint, _ in at),
            )  # fmt: skip
        made.append(
            Node(f"m:{model.uuid}", "box", model.name, f"{base}#models", feeds=tuple(f"v:{n}/{v}" for n, v in its))
        )
    if not names and not made:
        return None
    me = Node("run", "activity", run.name or run.uuid[:8], base, here=True, feeds=tuple(node.key for node in made))
    columns = [("Data", list(names.values())), ("Run", [me]), ("Models", made), ("Versions", list(versions.values())),
               ("Endpoints", list(endpoints.values()))]  # fmt: skip
    return layout([(name, nodes) for name, nodes in columns if nodes])


def layout(columns: Sequence[tuple[str, list[Node]]]) -> Drawing:
    """Columns from left to right, each centred; of long ones the first few, and how many more there are."""
    shown = [(name, _cut(nodes)) for name, nodes in columns]
    most = max(len(nodes) for _, nodes in shown)
    height = most * HEIGHT + (most - 1) * GAP
    top = 24
    boxes: dict[str, Placed] = {}
    heads = []
    for at, (name, nodes) in enumerate(shown):
        x = at * (WIDTH + SPACE)
        heads.append((x, name))
        y = top + (height - len(nodes) * HEIGHT - (len(nodes) - 1) * GAP) // 2
        for node in nodes:
            boxes[node.key] = Placed(node, x, y)
            y += HEIGHT + GAP
    paths = [_path(one, boxes[key]) for one in boxes.values() for key in one.node.feeds if key in boxes]
    return Drawing(len(shown) * (WIDTH + SPACE) - SPACE + 2, top + height + 2, list(boxes.values()), paths, heads)


def _cut(nodes: list[Node]) -> list[Node]:
    found = [_named(node) for node in nodes]
    if len(found) <= MOST:
        return found
    rest = len(found) - MOST + 1
    return [*found[: MOST - 1], Node(f"more:{found[0].key}", "ellipsis", f"and {rest} more", found[-1].url)]


def _named(node: Node) -> Node:
    label = node.label if len(node.label) <= CHARS else node.label[: CHARS - 1] + "…"
    return Node(node.key, node.icon, label, node.url, node.title or node.label, node.note, node.here, node.feeds)


def _path(one: Placed, other: Placed) -> str:
    x1, y1, x2, y2 = one.x + WIDTH, one.y + HEIGHT // 2, other.x, other.y + HEIGHT // 2
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
