"""What uv said when it could not do it, in plain words and with what you can do. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

# Names that people import, and the names under which the packages are published.
_IMPORT_NAMES: dict[str, str] = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "pil": "pillow",
    "bs4": "beautifulsoup4",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "dotenv": "python-dotenv",
    "dateutil": "python-dateutil",
    "jwt": "pyjwt",
    "psycopg2": "psycopg2-binary",
    "pytorch": "torch",
    "tf": "tensorflow",
    "attr": "attrs",
    "serial": "pyserial",
    "magic": "python-magic",
    "crypto": "pycryptodome",
}
# fmt: off
_KNOWN = [
    "numpy", "pandas", "polars", "pyarrow", "scipy", "scikit-learn", "statsmodels", "xgboost", "lightgbm", "catboost",
    "torch", "torchvision", "tensorflow", "keras", "jax", "transformers", "datasets", "matplotlib", "seaborn",
    "plotly", "altair", "bokeh", "requests", "httpx", "tqdm", "joblib", "optuna", "shap", "pillow", "nltk", "spacy",
    "gensim", "sentence-transformers", "opencv-python-headless", "scikit-image", "imbalanced-learn", "fastapi",
    "pydantic", "sqlalchemy", "duckdb", "openpyxl", "beautifulsoup4", "networkx", "sympy", "numba", "dask", "ray",
    "mlflow", "category-encoders", "feature-engine", "prophet", "lightning", "ipywidgets",
]
# fmt: on

_MISSING = re.compile(r"(?:Because|because|and) ([A-Za-z0-9._-]+) was not found in the package registry")
_NO_VERSION = re.compile(
    r"there (?:is no version of|are no versions of) ([A-Za-z0-9._\[\]-]+?)([=<>!~].*?)? and", re.DOTALL
)
_NO_WHEEL = re.compile(
    r"(?:Because|because) (?:all versions of )?([A-Za-z0-9._=-]+) (?:has|have) no (?:usable )?wheels"
)
_PYTHON = re.compile(r"depends on Python\s?([^\s]+)")
_CONFLICT = "No solution found when resolving dependencies"


@dataclass(frozen=True)
class Explanation:
    """One sentence on what went wrong, and what the reader can do."""

    message: str
    hint: str


def explain(text: str) -> Explanation:
    """The explanation for uv's error output; unknown errors are given as uv said them."""
    said = said_by_uv(text)
    flat = re.sub(r"\s+", " ", said)
    if match := _MISSING.search(flat):
        return Explanation(f"There is no package called {match[1]} on the package index.", _spelling(match[1]))
    if match := _NO_WHEEL.search(flat):
        if published := _IMPORT_NAMES.get(match[1].lower()):
            return Explanation(
                f"{match[1]} is the name to import.", f"The package is called {published}: ask for that."
            )
        return Explanation(
            f"{match[1]} has no ready-made wheel for this Python and machine.",
            "Try another version, or allow building from source: its build script then runs on this machine.",
        )
    if any(words in flat for words in ("Failed to fetch", "error sending request", "dns error", "Connection refused")):
        return Explanation(
            "The package index did not answer. " + _first_cause(said),
            "Check this machine's network and its uv or pip settings, then try again: what was downloaded is kept.",
        )
    if "No space left on device" in flat or "os error 28" in flat:
        return Explanation("The disk is full; nothing was left behind.", "Free some space and try again.")
    if "hash mismatch" in flat.lower() or "Hash mismatch" in flat:
        return Explanation(
            "A downloaded file is not the one that was locked: " + flat,
            "Try again; if it stays, tell your index's owner.",
        )
    if (match := _PYTHON.search(flat)) and _CONFLICT in flat:
        return Explanation(_reason(said), f"Ask for another Python ({match[1]}) or for another version of the package.")
    if match := _NO_VERSION.search(flat):
        asked = f"{match[1]}{match[2] or ''}".strip()
        return Explanation(f"The package index has no {asked}.", "Ask for another version, or for none.")
    if _CONFLICT in flat:
        return Explanation(
            "These requirements contradict each other. " + _reason(said),
            "Loosen or remove one of the versions named here.",
        )
    return Explanation(flat or "uv failed without a word.", "The log above has the details.")


def said_by_uv(text: str) -> str:
    """uv's error without its progress lines, marks and colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    start = max(text.rfind("\nerror: "), 0 if text.startswith("error: ") else -1)
    text = text[start:] if start >= 0 else text
    return re.sub(r"(?m)^\s*(error:|cause:|[×╰─▶│├]+)\s*", "", text).strip()


def _reason(said: str) -> str:
    """uv's chain of reasons, without its first line and its closing formula, in shorter sentences."""
    flat = re.sub(r"\s+", " ", said.replace(_CONFLICT, "").partition("\nhint:")[0]).strip().lstrip(": ")
    flat = re.sub(r",? we can conclude that your requirements are unsatisfiable", "", flat)
    flat = flat.replace(", we can conclude that ", ", so ").replace("And because ", "And ")
    flat = re.sub(r"\{python_full_version[^}]*\}", "", flat).removeprefix("Because ")
    return flat.rstrip(".") + "."


def _first_cause(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    cause = re.sub(r"//[^/@\s]+@", "//***@", lines[-1]) if lines else ""
    return f"({cause})" if cause else ""


def _spelling(name: str) -> str:
    lower = name.lower()
    if published := _IMPORT_NAMES.get(lower):
        return f"Its name there is {published}."
    close = difflib.get_close_matches(lower, _KNOWN, n=1, cutoff=0.75)
    return f"Did you mean {close[0]}?" if close else "Check the spelling, and whether your index has it."
