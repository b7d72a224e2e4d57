"""How a program asks an endpoint: the same request in curl, Python, JavaScript and our CLI, ready to copy."""

from __future__ import annotations

import json
import pprint
from typing import Any

_PYTHON = """\
import os

import requests

answer = requests.post(
    "{url}",
    headers={{"Authorization": "Bearer " + {key}}},
    json={body},
    timeout=30,
)
answer.raise_for_status()
print(answer.json()["predictions"])
"""
_JAVASCRIPT = """\
const answer = await fetch("{url}", {{
  method: "POST",
  headers: {{ Authorization: "Bearer " + {key}, "Content-Type": "application/json" }},
  body: JSON.stringify({body}),
}});
if (!answer.ok) throw new Error(await answer.text());
console.log((await answer.json()).predictions);
"""
_CURL = """\
curl {url} \\
  -H "Authorization: Bearer {key}" \\
  -H 'Content-Type: application/json' \\
  -d '{body}'
"""
_CLI = """\
headway predict {name} - <<'JSON'
{body}
JSON
"""


def snippets(url: str, name: str, body: Any, key: str = "") -> list[tuple[str, str, str]]:
    """(label, language, text) for `url` of invocations; without a key the text reads it from `HEADWAY_KEY`."""
    line = json.dumps(body)
    curl = _CURL.format(url=url, key=key or "$HEADWAY_KEY", body=line.replace("'", "'\\''"))
    in_python = repr(key) if key else 'os.environ["HEADWAY_KEY"]'
    in_javascript = json.dumps(key) if key else "process.env.HEADWAY_KEY"
    literal = pprint.pformat(body, width=100, compact=True, sort_dicts=False).replace("\n", "\n    ")
    return [
        ("curl", "bash", curl),
        ("Python", "python", _PYTHON.format(url=url, key=in_python, body=literal)),
        ("JavaScript", "javascript", _JAVASCRIPT.format(url=url, key=in_javascript, body=json.dumps(body, indent=2))),
        ("CLI", "bash", _CLI.format(name=name, body=line)),
    ]
