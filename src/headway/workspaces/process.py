"""The folder and the Spec of a project's Jupyter server: its configuration, its kernel specs, and no more than it needs."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.engines.base import Spec
from headway.engines.host import Host
from headway.environments.tables import Environment
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.workspaces import identity

CONFIG = "workspace.json"
TOKEN = "token"  # noqa: S105  a file's name
DEFAULT_KERNEL = "python3"
"""The name that most notebooks ask for: here it is the project's current environment."""
_MODULE = "headway.workspaces.jupyter_side"


@dataclass(frozen=True)
class Kernel:
    """A kernel to offer: its name for Jupyter, the name that people see, the interpreter, the environment's id."""

    name: str
    label: str
    python: Path
    environment_id: str


def folder(host: Host, project_id: str) -> Path:
    """The workspace's folder: Jupyter's own files and its kernels' spools; the notebooks lie in the project's folder."""
    return host.settings.path("workspaces", project_id)


def socket(host: Host, project_id: str) -> Path:
    """Jupyter's UNIX socket."""
    return host.settings.socket(f"nb-{project_id[:20]}")


def base_url(project: Project) -> str:
    """Where it is for browsers."""
    return f"/notebooks/{project.slug}/"


def audience(project: Project) -> str:
    """What identity tokens for it are meant for."""
    return f"workspace:{project.id}"


def signing_key(host: Host) -> bytes:
    """The proxy's private key; made once, kept sealed."""
    path = host.settings.path("workspaces", "identity")
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"identity.{os.getpid()}")
        _private(new, host.vault.seal(identity.new_key().hex()))
        try:
            os.link(new, path)  # of two servers one wins
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return bytes.fromhex(host.vault.unseal(path.read_text(encoding="utf-8")))


def prepare(host: Host, project: Project, token: str | None) -> Spec:
    """Write everything that Jupyter reads at its start; the Spec to start it with. `token`: the kernels' own, for their runs."""
    place = folder(host, project.id)
    for name in ("config/labconfig", "data", "kernels", "settings", "workspaces"):
        (place / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    if token is not None:
        _private(place / TOKEN, token)
    # kernels talk over UNIX sockets named after their connection files: the whole path must be short
    runtime = host.settings.socket(f"{project.id[:8]}-kernel-{'x' * 36}-ipc-5").parent / project.id[:8]
    runtime.mkdir(mode=0o700, exist_ok=True)
    page = {
        "disabledExtensions": {
            "@jupyterlab/apputils-extension:announcements": True,
            "@jupyterlab/extensionmanager-extension:plugin": True,
        }
    }
    _write(place / "config/labconfig/page_config.json", page)
    _write(place / "config/jupyter_server_config.json", _server_config(host, project, place))
    _write(place / CONFIG, _facts(host, project, place, runtime))
    argv = (sys.executable, "-m", _MODULE, str(place))
    mark = hashlib.sha256("\0".join(argv).encode()).hexdigest()[:8]
    return Spec(
        key=f"jupyter-{project.id}-{mark}",
        argv=argv,
        cwd=str(place),
        folder=str(place / "process"),
        grace_s=8.0,
        stop_signal="TERM",
    )


def _facts(host: Host, project: Project, place: Path, runtime: Path) -> dict[str, Any]:
    """`workspace.json`: what our own code inside Jupyter reads."""
    return {
        "socket": str(socket(host, project.id)),
        "jupyter_environment": {
            "JUPYTER_CONFIG_DIR": str(place / "config"),
            "JUPYTER_DATA_DIR": str(place / "data"),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYTHONNOUSERSITE": "1",
        },
        "kernel_environment": {
            "HEADWAY_RUNTIME": str(host.runtime),
            "HEADWAY_URL": host.settings.url,
            "HEADWAY_TOKEN_FILE": str(place / TOKEN),
            "HEADWAY_PROJECT": project.slug,
            "MLFLOW_TRACKING_URI": host.settings.url,
        }
        | ({} if project.records else {"HEADWAY_CAPTURE": "off"}),
    }


def _server_config(host: Host, project: Project, place: Path) -> dict[str, Any]:
    return {
        "ServerApp": {
            "sock": str(socket(host, project.id)),
            "sock_mode": "0600",
            "base_url": base_url(project),
            "root_dir": str(projects.folder(host, project)),
            "open_browser": False,
            "allow_root": True,
            "allow_remote_access": True,  # the Host was checked by our server; here it is any name of it
            "allow_unauthenticated_access": False,
            "identity_provider_class": f"{_MODULE}.HeadwayIdentity",
            "kernel_spec_manager_class": f"{_MODULE}.HeadwayKernelSpecs",
            "terminado_settings": {"shell_command": ["/bin/sh"] if not Path("/bin/bash").exists() else ["/bin/bash"]},
            "quit_button": False,
            "answer_yes": True,
        },
        "HeadwayIdentity": {
            "public_key": identity.public_of(signing_key(host)).hex(),
            "audience": audience(project),
            "token": "",
        },
        "HeadwayKernelSpecs": {"folder": str(place / "kernels")},
        "MappingKernelManager": {
            "kernel_manager_class": f"{_MODULE}.HeadwayKernel",
            "default_kernel_name": DEFAULT_KERNEL,
        },
        "HeadwayKernel": {"workspace": str(place), "transport": "ipc"},
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
        "LabApp": {"news_url": None, "extension_manager": "readonly"},
        "FileContentsManager": {"delete_to_trash": False, "always_delete_dir": False},
        "ArbitraryFileIdManager": {"db_path": str(place / "file_ids.db")},
        "LocalFileIdManager": {"db_path": str(place / "file_ids.db")},
        "SQLiteYStore": {"db_path": str(place / "documents.db")},
        "YDocExtension": {"session_store_path": str(place / "sessions.json"), "document_save_delay": 0.5},
    }


def kernels(current: Environment | None, others: Iterable[Environment]) -> list[Kernel]:
    """What to offer: the current environment first, then every other ready one, each folder once."""
    found: dict[str, Kernel] = {}
    if current is not None:
        found[current.hash] = Kernel(DEFAULT_KERNEL, _label(current), current.python, current.id)
    for row in others:
        if row.ready and row.kernel and row.hash not in found:
            found[row.hash] = Kernel(f"env-{row.hash[:12]}", _label(row), row.python, row.id)
    return list(found.values())


def _label(row: Environment) -> str:
    return f"Python {'.'.join(row.python_version.split('.')[:2])} · {row.name}"


def write_kernels(place: Path, wanted: list[Kernel]) -> bool:
    """Make the folder of kernel specs say precisely that; whether anything changed. Jupyter looks at it at each use."""
    changed = False
    for kernel in wanted:
        path = place / "kernels" / kernel.name / "kernel.json"
        text = json.dumps(_kernel_spec(kernel), indent=1)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name("kernel.json.tmp")
            new.write_text(text, encoding="utf-8")
            new.rename(path)
            changed = True
    names = {kernel.name for kernel in wanted}
    for stale in (place / "kernels").glob("*/kernel.json"):
        if stale.parent.name not in names:
            stale.unlink()
            stale.parent.rmdir()
            changed = True
    return changed


def _kernel_spec(kernel: Kernel) -> dict[str, Any]:
    bin_folder = kernel.python.parent
    return {
        "argv": [str(kernel.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": kernel.label,
        "language": "python",
        "interrupt_mode": "signal",
        "env": {"VIRTUAL_ENV": str(bin_folder.parent), "PATH": f"{bin_folder}:${{PATH}}"},
        "metadata": {"debugger": True, "headway": {"environment_id": kernel.environment_id}},
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    new = path.with_name(path.name + ".tmp")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.rename(path)


def _private(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".tmp")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
