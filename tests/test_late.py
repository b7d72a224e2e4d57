"""A library that is imported late is the library; several threads that ask for it at once get one."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_there_when_it_is_asked_for() -> None:
    said = run("""
        import sys
        from headway import late
        late.libraries(("numpy",))
        import numpy as np
        assert "numpy.linalg" not in sys.modules
        print(np.arange(3).sum(), np is not sys.modules["numpy"], np.ndarray is sys.modules["numpy"].ndarray)
    """)
    assert said == "3 True True"


@pytest.mark.parametrize(
    "form", ["import numpy.linalg", "from numpy import arange", "from numpy.typing import NDArray"]
)
def test_any_form_of_import_finds_it(form: str) -> None:
    assert run(
        f"from headway import late; late.libraries(('numpy',)); {form}; import numpy; print(numpy.pi)"
    ).startswith("3.14")


def test_threads_that_ask_at_once_get_the_same() -> None:
    said = run("""
        import threading
        from headway import late
        late.libraries(("numpy",))
        import numpy as np
        start, found = threading.Barrier(16), []
        def ask():
            start.wait()
            found.append(np.ndarray)
        threads = [threading.Thread(target=ask) for _ in range(16)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(len(found), len(set(found)))
    """)
    assert said == "16 1"


def test_whether_it_is_installed_can_be_asked_without_importing_it() -> None:
    said = run("""
        import importlib.util, sys
        from headway import late
        late.libraries(("numpy",))
        print(importlib.util.find_spec("numpy").name, "numpy._core" in sys.modules)
    """)
    assert said == "numpy False"


def test_what_is_there_already_or_not_at_all_is_left_alone() -> None:
    said = run("""
        import json, sys
        from headway import late
        late.libraries(("json", "no_such_library"))
        print(sys.modules["json"] is json, "no_such_library" in sys.modules)
    """)
    assert said == "True False"


def test_a_server_that_was_asked_nothing_has_none_of_them() -> None:
    said = run("""
        import sys
        from headway import late
        late.libraries()
        from headway import server
        server.pillars()
        print([name for name in late.LIBRARIES if type(sys.modules.get(name)).__name__ != "_Late"],
              [name for name in ("cryptography", "alembic", "pandas", "pyarrow") if name in sys.modules])
    """)
    assert said == "[] []"
