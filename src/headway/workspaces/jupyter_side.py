"""Our part inside Jupyter's process: `python -m headway.workspaces.jupyter_side FOLDER`.

Jupyter believes our proxy and nobody else, offers the kernels that we wrote down and no others, and gives each kernel a spool, so
that what is tried in a notebook is recorded like any run.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]
from tornado.web import RequestHandler
from traitlets import Unicode

from headway.workspaces.identity import HEADER, verify

CONFIG = "workspace.json"
_WEEK_S = 7 * 86_400
_COLOURS = 7  # JupyterLab's --jp-collaborator-color1 to 7


class HeadwayIdentity(IdentityProvider):
    """The person whom our proxy named in a signed header; without one nobody is let in."""

    public_key = Unicode(config=True, help="Hexadecimal Ed25519 public key of the proxy.")
    audience = Unicode(config=True, help="The workspace that tokens must be meant for.")

    @property
    def auth_enabled(self) -> bool:
        """Always: there is no anonymous user."""
        return True

    def get_user(self, handler: RequestHandler) -> User | None:
        """The person of this request."""
        token = handler.request.headers.get(HEADER, "")
        person = verify(bytes.fromhex(self.public_key), token, self.audience, time.time())
        if person is None:
            return None
        colour = sum(person.user_id.encode()) % _COLOURS + 1
        return User(
            username=person.user_id,
            name=person.name,
            display_name=person.name,
            initials="".join(word[0] for word in person.name.split()[:2]).upper(),
            color=f"var(--jp-collaborator-color{colour})",
        )

    def is_token_authenticated(self, handler: RequestHandler) -> bool:  # noqa: ARG002
        """False: browsers come through the proxy with cookies, so Jupyter's check against forged requests stays on."""
        return False

    def get_handlers(self) -> list[tuple[str, object]]:
        """No pages to sign in or out: that is headway's."""
        return []


class HeadwayKernelSpecs(KernelSpecManager):
    """The kernels of the project's environments, and no kernel that happens to be installed on the machine."""

    ensure_native_kernel = False
    folder = Unicode(config=True, help="Where headway writes the kernel specs.")

    def _kernel_dirs_default(self) -> list[str]:
        return [self.folder]


class HeadwayKernel(ServerKernelManager):
    """A kernel whose life is recorded: each start and restart gets a spool of its own, which capture ships as a run."""

    workspace = Unicode(config=True, help="The workspace's folder.")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        environ = {name: value for name, value in kw.get("env", os.environ).items() if not name.startswith("JUPYTER")}
        kw["env"] = environ | recording(Path(self.workspace))
        await super()._async_launch_kernel(kernel_cmd, **kw)


def recording(workspace: Path) -> dict[str, str]:
    """What capture needs to know in a kernel: a new spool, and what the server wrote down for all kernels."""
    config = json.loads((workspace / CONFIG).read_text(encoding="utf-8"))
    spools = workspace / "spools"
    _forget_old(spools)
    spool = spools / secrets.token_hex(8)
    spool.mkdir(mode=0o700, parents=True)
    environ: dict[str, str] = config["kernel_environment"] | {"HEADWAY_SPOOL": str(spool)}
    # for code that logs by itself; it is in no file but this project's own, and ends with the workspace
    environ["MLFLOW_TRACKING_TOKEN"] = Path(environ["HEADWAY_TOKEN_FILE"]).read_text(encoding="utf-8").strip()
    return environ


def _forget_old(spools: Path) -> None:
    """Spools that nobody has written to for a week were shipped long ago, or never will be."""
    for spool in spools.iterdir() if spools.is_dir() else []:
        if all(time.time() - path.stat().st_mtime > _WEEK_S for path in [spool, *spool.iterdir()]):
            shutil.rmtree(spool, ignore_errors=True)


def main() -> None:
    """Run JupyterLab as the folder's `workspace.json` says."""
    workspace = Path(sys.argv[1])
    config = json.loads((workspace / CONFIG).read_text(encoding="utf-8"))
    os.environ.update(config["jupyter_environment"])
    socket = Path(config["socket"])
    # the keeper starts one process at a time: a socket that is there was left by a killed one
    if socket.exists() and stat.S_ISSOCK(socket.stat().st_mode):
        socket.unlink()
    LabApp.launch_instance(argv=[])


if __name__ == "__main__":
    main()
