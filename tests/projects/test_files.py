"""Files where users' code writes too: whole files only, and no link is followed, however it came there."""

import os
import threading
from pathlib import Path

import pytest

from headway.errors import BadPath, Conflict, NotFound, TooLarge
from headway.projects import files, preview
from headway.projects.files import Upload


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_read_list(tmp_path: Path) -> None:
    files.write(tmp_path, ("data", "b.csv"), b"1,2")
    files.write(tmp_path, ("a.txt",), b"hello")
    with files.reading(tmp_path, ("data", "b.csv")) as file:
        assert file.read() == b"1,2"
    found = [(e.name, e.kind, e.path) for e in files.listing(tmp_path)]
    assert found == [("data", "folder", "data"), ("a.txt", "file", "a.txt")]
    assert [e.path for e in files.listing(tmp_path, ("data",))] == ["data/b.csv"]
    assert sorted(e.path for e in files.walk(tmp_path)) == ["a.txt", "data/b.csv"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    files.write(tmp_path, ("a",), b"old")
    with pytest.raises(RuntimeError), Upload(tmp_path, ("a",), 100) as upload:
        upload.write(b"new")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_file_over_the_limit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLarge), Upload(tmp_path, ("deep", "a"), 10) as upload:
        upload.write(b"x" * 11)
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """(the project's folder, a secret outside) with every kind of link that leads there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "made")
    (root / "up").symlink_to("..")
    return root, outside


@pytest.mark.parametrize("parts", [("link",), ("folder", "secret"), ("up", "outside", "secret"), ("dangling",)])
def test_reading_through_a_link(trap: tuple[Path, Path], parts: tuple[str, ...]) -> None:
    with pytest.raises((BadPath, Conflict, NotFound)):
        files.open_file(trap[0], parts).close()


@pytest.mark.parametrize("parts", [("folder", "x"), ("folder", "deep", "x"), ("up", "x")])
def test_writing_through_a_link(trap: tuple[Path, Path], parts: tuple[str, ...]) -> None:
    root, outside = trap
    with pytest.raises((BadPath, Conflict, NotFound)):
        files.write(root, parts, b"x")
    assert names(outside) == ["secret"]
    assert not (root.parent / "x").exists()


def test_writing_over_a_link_replaces_the_link(trap: tuple[Path, Path]) -> None:
    root, outside = trap
    files.write(root, ("link",), b"mine")
    assert (outside / "secret").read_text() == "secret"
    assert not (root / "link").is_symlink()


def test_deleting_a_link_leaves_what_it_leads_to(trap: tuple[Path, Path]) -> None:
    root, outside = trap
    files.delete(root, ("link",))
    files.delete(root, ("folder",))
    assert (outside / "secret").read_text() == "secret"
    with pytest.raises((BadPath, Conflict, NotFound)):
        files.delete(root, ("up", "outside"))


def test_deleting_a_folder_does_not_follow_links_in_it(trap: tuple[Path, Path]) -> None:
    root, outside = trap
    (root / "mine").mkdir()
    (root / "mine" / "away").symlink_to(outside)
    files.delete(root, ("mine",))
    assert (outside / "secret").exists()


def test_links_are_listed_and_never_walked(trap: tuple[Path, Path]) -> None:
    assert {e.kind for e in files.listing(trap[0])} == {"link"}
    assert list(files.walk(trap[0])) == []


def test_a_folder_swapped_for_a_link_while_writing(tmp_path: Path) -> None:
    """The race of the threat model: whatever wins, nothing is written outside."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "data").mkdir(parents=True)
    (tmp_path / "aside").mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                (root / "data").rename(tmp_path / "aside" / "data")
                (root / "data").symlink_to(outside)
                (root / "data").unlink()
                (tmp_path / "aside" / "data").rename(root / "data")
            except OSError:
                continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for n in range(300):
            try:
                files.write(root, ("data", f"f{n}"), b"x")
            except (BadPath, Conflict, NotFound):
                continue
    finally:
        stop.set()
        swapper.join()
    assert names(outside) == []


def test_a_pipe_does_not_hold_the_server(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((NotFound, OSError)):
        files.open_file(tmp_path, ("pipe",)).close()


def test_moving(tmp_path: Path) -> None:
    files.write(tmp_path, ("a",), b"a")
    files.write(tmp_path, ("b",), b"b")
    files.move(tmp_path, ("a",), ("deep", "down", "a"))
    assert (tmp_path / "deep/down/a").read_bytes() == b"a"
    with pytest.raises(Conflict, match="there already"):
        files.move(tmp_path, ("b",), ("deep", "down", "a"))
    with pytest.raises(Conflict, match="into itself"):
        files.move(tmp_path, ("deep",), ("deep", "down", "x"))
    with pytest.raises(NotFound):
        files.move(tmp_path, ("gone",), ("x",))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda root: files.open_file(root, ("gone",)), NotFound),
        (lambda root: files.open_file(root, ("folder",)), NotFound),
        (lambda root: files.open_file(root, ("file", "x")), Conflict),
        (lambda root: files.write(root, ("folder",), b"x"), Conflict),
        (lambda root: files.write(root, ("file", "x"), b"x"), Conflict),
        (lambda root: files.make_folder(root, ("file",)), Conflict),
        (lambda root: files.listing(root, ("gone",)), NotFound),
        (lambda root: files.delete(root, ("gone",)), NotFound),
    ],
)
def test_what_cannot_be(tmp_path: Path, call: object, error: type[Exception]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(error):
        call(tmp_path)  # type: ignore[operator]
    assert names(tmp_path) == ["file", "folder"]


def test_names_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("x")
    (tmp_path / os.fsdecode(b"bad\xff")).touch()
    assert [e.name for e in files.listing(tmp_path)] == ["good"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "cut"),
    [
        ("a.py", b"print(1)", "text", False),
        ("a.bin", b"\0\1", "none", False),
        ("a.txt", b"\xff\xfe", "none", False),
        ("a.txt", "é".encode() * 150_000, "text", True),
        ("a.csv", b"a,b\n1,2\n", "table", False),
        ("a.csv", b"a,b\n" + b"1,2\n" * 100, "table", True),
        ("a.csv", b'a,"b\n' + b"x" * 200_000, "table", True),
        ("a.csv", b"", "table", False),
        ("a.png", b"not a picture", "picture", False),
        ("a.html", b"<script>alert(1)</script>", "text", False),
    ],
)
def test_previews(tmp_path: Path, name: str, content: bytes, kind: str, cut: bool) -> None:
    (tmp_path / name).write_bytes(content)
    shown = preview.of(tmp_path, (name,))
    assert (shown.kind, shown.cut, shown.size) == (kind, cut, len(content))
    assert len(shown.rows) <= preview.TABLE_ROWS + 1
