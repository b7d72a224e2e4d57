"""Models: versions, aliases, files. The registry speaks MLflow's protocol."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway.errors import BadInput, Conflict
from headway.sdk.client import Client

Json = dict[str, Any]
_MLFLOW = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Models:
    """The registered models of one project."""

    def __init__(self, client: Client, project: str) -> None:
        self.client = client
        self.project = project

    def all(self) -> list[Json]:
        """Every model: `name`, `versions` (newest first, each with `version`, `run_id`, `aliases`), `aliases`."""
        versions: dict[str, list[Json]] = {}
        for one in self._pages("model-versions/search", "model_versions", {}):
            versions.setdefault(one["name"], []).append(_version(one))
        found = []
        for one in self._pages("registered-models/search", "registered_models", {}):
            aliases = {alias["alias"]: int(alias["version"]) for alias in one.get("aliases", [])}
            its = sorted(versions.get(one["name"], []), key=lambda version: -int(version["version"]))
            for version in its:
                version["aliases"] = sorted(alias for alias, number in aliases.items() if number == version["version"])
            found.append({"name": one["name"], "description": one.get("description", ""), "aliases": aliases,
                          "created_at": one.get("creation_timestamp"), "versions": its})  # fmt: skip
        return found

    def get(self, name: str) -> Json:
        """One model with its versions. Raises `NotFound`."""
        self._ask("GET", "registered-models/get", {"name": name})
        return next(one for one in self.all() if one["name"] == name)

    def version(self, ref: str) -> Json:
        """A version by `churn/3`, `churn@champion`, or `churn`: its champion, else its newest. Raises `NotFound`."""
        name, at, alias = ref.partition("@")
        if at:
            found = self._ask("GET", "registered-models/alias", {"name": name, "alias": alias})
            return _version(found["model_version"])
        name, slash, number = ref.partition("/")
        if slash:
            return _version(self._ask("GET", "model-versions/get", {"name": name, "version": number})["model_version"])
        model = self.get(name)
        if not model["versions"]:
            raise Conflict(f"{name} has no version yet.", hint="Register the model of a run.")
        wanted = model["aliases"].get("champion", model["versions"][0]["version"])
        found = next(one for one in model["versions"] if one["version"] == wanted)
        return dict(found)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias stand for a version; it leaves the one it stood for before."""
        self._ask("POST", "registered-models/alias", {"name": name, "alias": alias, "version": str(version)})

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        self._ask("DELETE", "registered-models/alias", {"name": name, "alias": alias})

    def download(self, ref: str, folder: Path) -> list[str]:
        """Fetch a version's files into a folder that is empty or not there yet; the files' names. Whole or not at all."""
        version = self.version(ref)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(f"{folder} is there already.", hint="Name a folder that is empty or not there yet.")
        uri = self._ask("GET", "model-versions/get-download-uri",
                        {"name": version["name"], "version": str(version["version"])})["artifact_uri"]  # fmt: skip
        return self.fetch(str(uri).removeprefix("mlflow-artifacts:").strip("/"), folder)

    def fetch(self, base: str, folder: Path) -> list[str]:
        """Fetch a folder of the server's files; the files' names. Whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            names = list(self._tree(base))
            for name in names:
                self._fetch(f"{base}/{name}", part / name)
            part.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return names

    def _tree(self, base: str, below: str = "") -> Iterator[str]:
        path = f"{base}/{below}" if below else base
        answer = self.client.request("GET", _FILES, query={"path": path}, headers=self._headers())
        for entry in json.loads(answer.body).get("files", []):
            name = f"{below}/{entry['path']}" if below else str(entry["path"])
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise BadInput(f"The server names a file outside of the model: {name!r}.")
            if entry.get("is_dir"):
                yield from self._tree(base, name)
            else:
                yield name

    def _fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in self.client.pieces(f"{_FILES}/{path}", headers=self._headers()):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _pages(self, what: str, key: str, query: Json) -> Iterator[Json]:
        query = {"max_results": 200} | query
        while True:
            page = self._ask("GET", what, query)
            yield from page.get(key, [])
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    def _headers(self) -> dict[str, str]:
        return {"X-MLflow-Workspace": self.project}

    def _ask(self, method: str, what: str, values: Json) -> Json:
        """A call of the protocol: GET takes its values in the query, others as JSON."""
        path = f"{_MLFLOW}/{what}"
        if method == "GET":
            answer = self.client.request("GET", path, query=values, headers=self._headers())
        else:
            headers = self._headers() | {"Content-Type": "application/json"}
            answer = self.client.request(method, path, json.dumps(values).encode(), headers=headers, again=True)
        found: Json = json.loads(answer.body or b"{}")
        return found


def _version(one: Json) -> Json:
    return {
        "name": one["name"],
        "version": int(one["version"]),
        "run_id": one.get("run_id", ""),
        "aliases": sorted(one.get("aliases", [])),
        "description": one.get("description", ""),
        "created_at": one.get("creation_timestamp"),
        "source": one.get("source", ""),
    }


def load(folder: Path) -> Any:
    """The fitted model in a bundle's folder. MLflow's clients write the manifest as YAML; it is made JSON here, once.

    Raises `BadInput` for such a one where PyYAML is missing, which MLflow brings along; and what loading raises.
    """
    from headway import bundle
    from headway.modelserver import loading

    manifest = folder / bundle.MANIFEST
    text = manifest.read_text(encoding="utf-8")
    if not text.lstrip().startswith("{"):
        try:
            import yaml
        except ModuleNotFoundError:
            raise BadInput("Loading this model needs PyYAML.", hint="pip install pyyaml") from None
        bundle.write_manifest(folder, bundle.from_mapping(yaml.safe_load(text)))
    return loading.load(folder).model
