"""The packages of this very process, told from its `*.dist-info` folders, and which of them a model needs."""

from __future__ import annotations

import os
import sys

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


def _normal(name: str) -> str:
    name = name.replace("_", "-").replace(".", "-").lower()
    while "--" in name:
        name = name.replace("--", "-")
    return name


def _parts(folder: str) -> tuple[str, str] | None:
    """(name, version) of `numpy-2.0.1.dist-info`."""
    if not folder.endswith((".dist-info", ".egg-info")):
        return None
    name, _, version = folder[: folder.rindex(".")].partition("-")
    return (name, version.partition("-")[0]) if name and version else None


def installed() -> dict[str, tuple[str, str, str]]:
    """`{normal name: (name, version, folder of its metadata)}` of what this process can import."""
    found: dict[str, tuple[str, str, str]] = {}
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            if parts := _parts(name):
                real = parts[0].replace("_", "-")
                found.setdefault(_normal(real), (real, parts[1], f"{entry or '.'}/{name}"))
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
