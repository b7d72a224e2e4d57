"""What calls read, told from byte code: as `dis` tells it, with each Python that is here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headway.capture.bytecode import Calls, instructions

from .conftest import SOURCE, other_pythons

COMPARE = '''
import argparse, ast, collections, dataclasses, decimal, difflib, dis, inspect, logging, opcode, random, sys, tarfile
import types, typing
sys.path.insert(0, sys.argv[1])
from headway.capture.bytecode import instructions

OTHERS = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
named = (opcode.opname[n] for n in (*opcode.haslocal, *opcode.hasfree, *opcode.hasname))
VARIABLES = {n for n in named if n.startswith(("LOAD_", "STORE_")) and n not in OTHERS}

def codes(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes(const)

seen = set()
for module in (argparse, ast, collections, dataclasses, decimal, difflib, inspect, logging, random, tarfile, typing):
    for code in codes(compile(open(module.__file__).read(), module.__file__, "exec")):
        theirs = [i for i in dis.get_instructions(code) if i.opname != "CACHE"]
        ours = list(instructions(code))
        assert [(i.offset, i.opname) for i in theirs] == [o[:2] for o in ours], code
        for one, (at, name, value, span) in zip(theirs, ours):
            where = one.positions
            told = None if where is None or where.lineno is None else (
                where.lineno, where.col_offset or 0, where.end_lineno or 0, where.end_col_offset or 0)
            assert told == span, (code, at)
            if name in VARIABLES or name in ("FOR_ITER", "UNPACK_SEQUENCE") or name.startswith("JUMP_BACKWARD"):
                assert one.argval == value, (code, at, name, one.argval, value)
                seen.add(name)
            if name == "BINARY_OP":
                assert (one.argrepr == "+=") == (value == 13), (code, at)
                seen.add(one.argrepr)
wanted = {"FOR_ITER", "UNPACK_SEQUENCE", "JUMP_BACKWARD", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "STORE_FAST", "+="}
assert wanted <= seen, wanted - seen
'''  # fmt: skip


@pytest.mark.parametrize("python", [sys.executable, *other_pythons()])
def test_instructions_are_those_of_dis(python: str) -> None:
    done = subprocess.run(
        [python, "-c", COMPARE, str(SOURCE)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("for step in run:\n    f(loss)\n", ("f", "loss", "step")),
        ("for i, (x, y) in run:\n    f(loss)\n", ("f", "loss", "i", "x", "y")),
        ("for epoch in a:\n    for batch in b:\n        f(loss)\n", ("f", "loss", "batch", "epoch")),
        ("while True:\n    step += 1\n    f(loss)\n", ("f", "loss", "step")),
        ("f(a.loss, b[i])\n", ("f", "a", "b", "i")),
        ("for step in run:\n    pass\nf(loss)\n", ("f", "loss")),
    ],
)
def test_names_of_a_call(source: str, names: tuple[str, ...]) -> None:
    code = compile(source, "<test>", "exec")
    last = [
        at for at, name, _, span in instructions(code) if name == "CALL" and span and span[0] == source.count("\n")
    ][-1]
    assert Calls(code).names(last) == names


def test_dis_is_not_needed() -> None:
    words = (
        "import sys; import headway.capture.bytecode; sys.exit('dis' in sys.modules or 'collections' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {words}"], check=False
    )
    assert done.returncode == 0
