"""Folders that are sent along with a run: kept once for each content, or refused whole."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.errors import BadPath, NotFound, TooLarge, Unprocessable
from headway.people.rules import Who
from headway.projects.tables import Project
from headway.runs import service, sources
from tests.world import World, world

FILES = {"train.py": b"print('here')\n", "data/cars.csv": b"a,b\n1,2\n"}


def archive(files: dict[str, bytes], mode: str = "w", **special: tarfile.TarInfo) -> io.BytesIO:
    """A tar archive of the files, and of whatever else."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in special.values():
            tar.addfile(info)
    out.seek(0)
    return out


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[World, Project, Who]]:
    with world(tmp_path / "home") as made:
        ada = made.user("ada")
        yield made, made.project("One", ada), ada


def left(made: World) -> list[str]:
    base = made.host.settings.path("sources")
    return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()) if base.exists() else []


def test_the_same_content_is_kept_once(place: tuple[World, Project, Who]) -> None:
    made, project, _ = place
    first = sources.keep(made.host, project.id, archive(FILES))
    again = sources.keep(made.host, project.id, archive(dict(reversed(FILES.items())), "w:gz"))
    other = sources.keep(made.host, project.id, archive(FILES | {"train.py": b"print('there')\n"}))
    assert first == again != other
    folder = sources.folder(made.host, project.id, first)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert len(left(made)) == 4


REFUSED: dict[str, tuple[Callable[[], io.BytesIO], type[Exception]]] = {
    "no archive": (lambda: io.BytesIO(b"hello" * 200), Unprocessable),
    "nothing": (lambda: io.BytesIO(b""), Unprocessable),
    "empty archive": (lambda: archive({}), Unprocessable),
    "cut short": (lambda: io.BytesIO(archive({"a": b"x" * 5000}).getvalue()[:2000]), Unprocessable),
    "cut gzip": (lambda: io.BytesIO(gzip.compress(archive({"a": b"x" * 5000}).getvalue())[:60]), Unprocessable),
    "symbolic link": (lambda: archive(FILES, link=special("etc", tarfile.SYMTYPE, "/etc")), Unprocessable),
    "hard link": (lambda: archive(FILES, link=special("etc", tarfile.LNKTYPE, "train.py")), Unprocessable),
    "device": (lambda: archive(FILES, link=special("zero", tarfile.CHRTYPE)), Unprocessable),
    "step up": (lambda: archive({"../escaped": b"x"}), BadPath),
    "absolute": (lambda: archive({"/tmp/escaped": b"x"}), BadPath),
    "twice": (lambda: archive({"a": b"1", "./a": b"2"}), Unprocessable),
    "file and folder": (lambda: archive({"a": b"1", "a/b": b"2"}), Unprocessable),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing(place: tuple[World, Project, Who], case: str) -> None:
    made, project, _ = place
    make, kind = REFUSED[case]
    with pytest.raises(kind):
        sources.keep(made.host, project.id, make())
    assert left(made) == []


def test_too_many_bytes_and_files(place: tuple[World, Project, Who], monkeypatch: pytest.MonkeyPatch) -> None:
    made, project, _ = place
    monkeypatch.setattr(sources, "MOST_BYTES", 10)
    with pytest.raises(TooLarge):
        sources.keep(made.host, project.id, archive({"a": b"x" * 11}))
    monkeypatch.setattr(sources, "MOST_FILES", 1)
    with pytest.raises(TooLarge):
        sources.keep(made.host, project.id, archive({"a": b"x", "b": b"y"}))
    assert left(made) == []


def test_a_run_reads_its_source_and_not_the_project(place: tuple[World, Project, Who]) -> None:
    made, project, ada = place
    source = sources.keep(made.host, project.id, archive(FILES))
    with made.host.database.write() as db:
        row = service.submit(db, made.host, ada, project, "train.py", source=source)
        assert row.source == source
    with made.host.database.write() as db, pytest.raises(NotFound):
        service.submit(db, made.host, ada, project, "train.py")


@pytest.mark.parametrize("source", ["0" * 64, "../x", "", "x"])
def test_a_source_of_another_project_is_not_there(place: tuple[World, Project, Who], source: str) -> None:
    made, project, ada = place
    mine = sources.keep(made.host, project.id, archive(FILES))
    other = made.project("Two", ada)
    for said in (mine, source):
        with pytest.raises(NotFound):
            sources.folder(made.host, other.id, said)
