"""A notebook for reading: everything shown, nothing run."""

from __future__ import annotations

from typing import Any

import pytest

from headway.web import cells as view

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def outputs(*found: dict[str, Any]) -> tuple[view.Output, ...]:
    cell = {"cell_type": "code", "source": ["x = 1\n", "x"], "execution_count": 3, "outputs": list(found)}
    (shown,) = view.cells({"cells": [cell], "metadata": {}})
    assert (shown.kind, shown.source, shown.count, shown.language) == ("code", "x = 1\nx", 3, "python")
    return shown.outputs


def data(**kinds: object) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {k.replace("_", "/", 1).replace("__", "+"): v for k, v in kinds.items()},
        "metadata": {},
    }


def test_text_as_a_terminal_shows_it() -> None:
    (output,) = outputs({"output_type": "stream", "name": "stdout", "text": ["10%\r", "100%\n", "\x1b[31mred\x1b[0m"]})
    assert (output.kind, output.text) == ("text", "100%\nred")


def test_an_error_keeps_its_trace() -> None:
    trace = ["\x1b[0;31mTraceback\x1b[0m", "ValueError: no"]
    (output,) = outputs({"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": trace})
    assert (output.kind, output.text) == ("error", "Traceback\nValueError: no")


def test_pictures() -> None:
    png, svg = outputs(data(image_png=PIXEL + "\n", text_plain="<Figure>"), data(image_svg__xml="<svg onload='x()'/>"))
    assert png.kind == "picture" and png.source == f"data:image/png;base64,{PIXEL}" and png.text == "<Figure>"
    assert svg.source.startswith("data:image/svg+xml;base64,") and "onload" not in svg.source


def test_a_table_stays_a_table() -> None:
    html = "<style>.x{}</style><table class='dataframe'><thead><tr><th>a</th></tr></thead><tr><td>1</td></tr></table>"
    (output,) = outputs(data(text_html=html, text_plain="a\n1"))
    assert output.kind == "html"
    assert str(output.html).startswith("<table>") and "<td>1</td>" in output.html and "style" not in output.html


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='http://evil.example/pixel.png'>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<svg onload=alert(1)></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "<form action='/logout' method=post><button>x</button></form>",
    "<div style='position:fixed;inset:0'>x</div>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<base href='http://evil.example/'>",
    "<object data='x'></object><embed src='x'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<img src='data:text/html;base64,PHNjcmlwdD4='>",
]
FORBIDDEN = (
    "<script", "onerror", "onload", "javascript", "java\t", "evil.example", "<iframe", "<form", "style=", "<meta", "<base",
    "<object", "<embed", "<svg", "data:text",
)  # fmt: skip


@pytest.mark.parametrize("html", HOSTILE)
def test_nothing_hostile_is_left(html: str) -> None:
    from_output = outputs(data(text_html=html, text_plain="plain"))
    (cell,) = view.cells({"cells": [{"cell_type": "markdown", "source": f"text\n\n{html}\n\n"}], "metadata": {}})
    for markup in [str(output.html) for output in from_output] + [str(cell.html)]:
        assert not [word for word in FORBIDDEN if word in markup.lower()], markup


def test_markdown() -> None:
    source = "# Title\n\n[web](https://example.org) [bad](javascript:x)\n\n| a |\n|---|\n| 1 |\n"
    (cell,) = view.cells({"cells": [{"cell_type": "markdown", "source": source}], "metadata": {}})
    assert "<h1>Title</h1>" in cell.html and 'href="https://example.org"' in cell.html and "<td>1</td>" in cell.html
    assert 'rel="noopener noreferrer nofollow"' in cell.html and 'href="javascript' not in cell.html


def test_what_can_not_be_shown_is_named() -> None:
    widget = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}}
    script = {"output_type": "display_data", "data": {"application/javascript": "alert(1)"}}
    shown = outputs(widget, script, {"output_type": "display_data", "data": "no"})
    assert [output.kind for output in shown] == ["note", "note", "note"]
    assert "application/javascript" in shown[1].text and "alert" not in shown[1].text
