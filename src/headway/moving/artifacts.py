"""Where the files of runs and models lie, when a store was moved since it was written, or when a server kept them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headway.moving.store import File, tree

_DEEPEST = 6


@dataclass(frozen=True)
class Places:
    """Folders in which artifacts may lie: what `--artifacts` names, the folder beside the store."""

    roots: tuple[Path, ...]

    def find(self, uri: str, *more: Path) -> Path | None:
        """The folder of an artifact URI on this machine: as it says, else the same end of the path below a root or below
        `more` (folders that would be it). None if it is in none of them, or somewhere else altogether.
        """
        for folder in more:
            if folder.is_dir():
                return folder
        parts = urlsplit(uri)
        if parts.scheme in ("", "file"):
            plain = Path(unquote(parts.path))
            if plain.is_absolute() and plain.is_dir():
                return plain
        elif parts.scheme != "mlflow-artifacts":
            return None
        names = [name for name in unquote(parts.path).split("/") if name not in ("", ".", "..")]
        for root in self.roots:
            for length in range(min(_DEEPEST, len(names)), 1, -1):
                folder = root.joinpath(*names[-length:])
                if folder.is_dir():
                    return folder
        return None

    def files(self, uri: str, left: list[tuple[str, str]], what: str, *more: Path) -> Iterator[File]:
        """The files behind a URI; where they can't be had, why goes to `left`."""
        folder = self.find(uri, *more)
        if folder is not None:
            yield from tree(folder)
        elif (scheme := urlsplit(uri).scheme) not in ("", "file", "mlflow-artifacts"):
            left.append(
                (
                    f"files of {what}",
                    f"they lie in {scheme}://; import from the MLflow server instead, which reads them",
                )
            )
        elif scheme == "mlflow-artifacts":
            left.append((f"files of {what}", f"{uri} is a server's folder; name it with --artifacts"))
        # A plain folder that is not there: the run left no file, MLflow makes folders when the first one comes.
