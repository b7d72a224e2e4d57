"""The packages of this very process, told from its `*.dist-info` folders, and which of them a model needs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

__all__ = ["installed", "needed", "version"]

_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist|egg)-info$")
_REQUIRES = re.compile(r"^Requires-Dist:\s*([A-Za-z0-9][A-Za-z0-9._-]*)(.*)$", re.MULTILINE)
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


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, tuple[str, str, Path]]:
    """`{normal name: (name, version, folder of its metadata)}` of what this process can import."""
    found: dict[str, tuple[str, str, Path]] = {}
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            match = _FOLDER.match(name) if name.endswith("-info") else None
            if match:
                real = match["name"].replace("_", "-")
                found.setdefault(_normal(real), (real, match["version"], Path(entry) / name))
    return found


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
        waiting += _requires(found[key][2])
    # A local version, such as torch's "+cpu", is in no index but its own; its release without it is in both.
    return sorted(f"{found[k][0]}=={found[k][1].partition('+')[0]}" for k in kept)


def _distribution(module: str, found: dict[str, tuple[str, str, Path]]) -> str | None:
    root = module.split(".")[0]
    if root in sys.stdlib_module_names or root in _OURS:
        return None
    for name in (_DISTRIBUTIONS.get(root, root), root, f"{root}-cpu", f"{root}-binary"):
        if _normal(name) in found:
            return _normal(name)
    for key, (_, _, folder) in found.items():
        try:
            if f"\n{root}/__init__.py," in (folder / "RECORD").read_text(encoding="utf-8", errors="replace"):
                return key
        except OSError:
            continue
    return None


def _requires(folder: Path) -> list[str]:
    """The requirements of an installed package that hold without an extra; whether they are installed is seen later."""
    try:
        text = (folder / "METADATA").read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
    except OSError:
        return []
    return [_normal(name) for name, rest in _REQUIRES.findall(text) if "extra ==" not in rest and "extra==" not in rest]
