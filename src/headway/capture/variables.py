"""The names of the environment variables that the code reads; never their values. Pure."""

from __future__ import annotations

import ast

from headway.capture.structure import Structure, call_name

__all__ = ["variables"]


def variables(program: Structure) -> list[str]:
    """`os.environ["LR"]`, `os.environ.get("LR")`, `os.getenv("LR")`: LR, sorted, each once."""
    found: set[str] = set()
    for source in program.sources.values():
        for node in ast.walk(source.tree):
            key: ast.AST | None = None
            if isinstance(node, ast.Subscript) and _is_environ(node.value) and isinstance(node.ctx, ast.Load):
                key = node.slice
            elif isinstance(node, ast.Call) and node.args:
                on_environ = isinstance(node.func, ast.Attribute) and _is_environ(node.func.value)
                if call_name(node) == "getenv" or (on_environ and call_name(node) in ("get", "setdefault")):
                    key = node.args[0]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                found.add(key.value)
    return sorted(found)[:200]


def _is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )
