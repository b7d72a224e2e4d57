"""Every icon that a template or a rail entry names is in the sprite."""

from __future__ import annotations

import re
from pathlib import Path

import headway
from headway.web import assets

ROOT = Path(headway.__file__).parent
IN_TEMPLATES = re.compile(r"""\bicon\(\s*"([a-z0-9-]+)"|icon_name="([a-z0-9-]+)"|icons\.svg'\) \}\}#([a-z0-9-]+)""")
# the icon is the third word of these, the fifth of empty()
BUTTONS = re.compile(
    r"""\b(?:link_button|post_button)\(\s*[^,]+,\s*[^,]+,(?:\s*csrf,)?\s*"[a-z]*",\s*"([a-z0-9-]+)\""""
)
IN_PYTHON = re.compile(r"""NavItem\(\s*"[^"]+",\s*"([a-z0-9-]+)"|\bicon["']?\s*[:=]\s*"([a-z0-9-]+)\"""")
IN_SCRIPTS = re.compile(r"""\bicon\("([a-z0-9-]+)"\)""")


def named(pattern: re.Pattern[str], files: list[Path]) -> dict[str, str]:
    found = {}
    for file in files:
        for match in pattern.finditer(file.read_text(encoding="utf-8")):
            found[next(group for group in match.groups() if group)] = file.name
    return found


def test_all_are_in_the_sprite() -> None:
    sprite = (assets.FOLDER / "vendor" / "icons.svg").read_text()
    drawn = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    assert drawn == assets.icons()
    templates = list(ROOT.glob("*/templates/**/*.html"))
    wanted = named(IN_TEMPLATES, templates) | named(BUTTONS, templates) | named(IN_PYTHON, list(ROOT.glob("*/*.py")))
    wanted |= named(IN_SCRIPTS, list((assets.FOLDER / "js").glob("*.js")))
    assert len(wanted) > 30, "the patterns above no longer find what templates use"
    assert {name: file for name, file in wanted.items() if name not in drawn} == {}
