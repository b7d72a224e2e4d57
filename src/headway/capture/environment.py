"""The packages of this very process, told from its `*.dist-info` folders, and which of them a model needs."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Iterator

# Neither `re` nor `pathlib` is imported into the user's process for a list of packages.

__all__ = ["installed", "needed", "version"]

_REQUIRES = r"(?m)^Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)(.*)$"
# Modules whose distribution has another name, of the libraries that models are made of.
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "umap": "umap-learn",
    "dateutil": "python-dateutil",
    "category_encoders": "category-encoders",
    "sklearn_pandas": "sklearn-pandas",
}
_OURS = {"headway"}
_ENDS = (".dist-info", ".egg-info")

_Found = dict[str, tuple[str, str, str]]
_listed: tuple[list[tuple[str, int]], _Found] | None = None  # the folders as they were listed, and what was in them
_required: dict[str, list[str]] = {}  # by the folder of a package's metadata


def _normal(name: str) -> str:
    name = name.replace("_", "-").replace(".", "-").lower()
    while "--" in name:
        name = name.replace("--", "-")
    return name


def _parts(folder: str) -> tuple[str, str] | None:
    """(name, version) of `numpy-2.0.1.dist-info`."""
    if not folder.endswith(_ENDS):
        return None
    name, _, version = folder[: folder.rindex(".")].partition("-")
    return (name, version.partition("-")[0]) if name and version else None


def installed() -> _Found:
    """`{normal name: (name, version, folder of its metadata)}` of what this process can import.

    Each model that is saved asks for it, some more than once: the folders are listed anew only when one has changed.
    """
    global _listed
    folders = list(_folders())
    if _listed is not None and _listed[0] == folders:
        return _listed[1]
    found: _Found = {}
    for folder, _ in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith(_ENDS) and (parts := _parts(name)):
                real = parts[0].replace("_", "-")
                found.setdefault(_normal(real), (real, parts[1], f"{folder}/{name}"))
    _listed = folders, found
    _required.clear()
    return found


def _folders() -> Iterator[tuple[str, int]]:
    """The folders of `sys.path` that there are, as they are now: a package that comes or goes changes its folder's time."""
    for entry in sys.path:
        try:
            yield os.path.abspath(entry), os.stat(entry or ".").st_mtime_ns
        except (OSError, TypeError, ValueError):
            continue


def pins() -> list[str]:
    """All of them as exact pins, sorted."""
    return sorted(f"{name}=={version}" for key, (name, version, _) in installed().items() if key not in _OURS)


def version(module: str) -> str:
    """The version of the package that a module comes from; "0" where it can't be told."""
    found = installed()
    key = _distribution(module, found)
    return found[key][1] if key else "0"


def needed(modules: set[str]) -> list[str]:
    """Exact pins of the packages that these top modules come from, and of all that those require."""
    found = installed()
    waiting = [key for m in sorted(modules) if (key := _distribution(m, found))]
    kept: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in kept or key not in found or key in _OURS:
            continue
        kept.add(key)
        folder = found[key][2]
        if folder not in _required:
            _required[folder] = _requires(folder)
        waiting += _required[folder]
    # A local version, such as torch's "+cpu", is in no index but its own; its release without it is in both.
    return sorted(f"{found[k][0]}=={found[k][1].partition('+')[0]}" for k in kept)


def _distribution(module: str, found: dict[str, tuple[str, str, str]]) -> str | None:
    from pathlib import Path

    root = module.split(".")[0]
    if root in sys.stdlib_module_names or root in _OURS:
        return None
    for name in (_DISTRIBUTIONS.get(root, root), root, f"{root}-cpu", f"{root}-binary"):
        if _normal(name) in found:
            return _normal(name)
    for key, (_, _, folder) in found.items():
        try:
            if f"\n{root}/__init__.py," in Path(folder, "RECORD").read_text(encoding="utf-8", errors="replace"):
                return key
        except OSError:
            continue
    return None


def _requires(folder: str) -> list[str]:
    """The requirements of an installed package that hold without an extra; whether they are installed is seen later."""
    import re
    from pathlib import Path

    try:
        text = Path(folder, "METADATA").read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
    except OSError:
        return []
    return [
        _normal(name) for name, rest in re.findall(_REQUIRES, text) if "extra ==" not in rest and "extra==" not in rest
    ]
