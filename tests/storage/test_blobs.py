"""Bytes by their content: stored once, held by name, freed when nobody holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.errors import NotFound, StorageFull, TooLarge
from headway.storage import blobs as store
from headway.storage.blobs import Blobs
from headway.storage.database import Database


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def files(blobs: Blobs) -> list[Path]:
    return [path for path in blobs.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"x", b"abc" * 1_000_000])
def test_what_is_put_comes_back(blobs: Blobs, data: bytes) -> None:
    blob = blobs.put(data)
    assert (blobs.read(blob.sha256), blob.size) == (data, len(data))


def test_the_same_bytes_lie_once(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"same")
    assert blobs.put(b"same") == blobs.put(tmp_path / "f") == blobs.put(iter([b"sa", b"me"]))
    assert len(files(blobs)) == 1


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (2, 5, b"234"), (9, 99, b"9"), (10, None, b"")],
)
def test_a_range_of_bytes(blobs: Blobs, start: int, end: int | None, expected: bytes) -> None:
    blob = blobs.put(b"0123456789")
    assert b"".join(blobs.open(blob.sha256, start, end)) == expected


def test_too_much_leaves_nothing_behind(blobs: Blobs) -> None:
    with pytest.raises(TooLarge):
        blobs.put(iter([b"x" * 600, b"x" * 600]), limit=1000)
    assert files(blobs) == []


def test_a_source_that_breaks_off_leaves_nothing_behind(blobs: Blobs) -> None:
    def source() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put(source())
    assert files(blobs) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64])
def test_what_is_not_there_is_not_found(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound):
        blobs.open(name)


def test_a_blob_is_freed_once_nobody_holds_it(blobs: Blobs, database: Database) -> None:
    blob = blobs.put(b"held twice")
    with database.write() as db:
        store.hold(db, blob, "run:1/model.pkl")
        store.hold(db, blob, "run:2/model.pkl")
        assert store.used_bytes(db) == blob.size
    with database.write() as db:
        store.release(db, "run:1/", below=True)
        assert store.orphans(db) == []
        store.release(db, "run:2/model.pkl")
        assert store.orphans(db) == [blob.sha256]
        assert store.forget(db, blobs, [blob.sha256]) == 0  # young: an upload may be about to hold it
        os.utime(blobs.path(blob.sha256), (0, 0))
        assert store.forget(db, blobs, [blob.sha256]) == 1
        assert store.used_bytes(db) == 0
    assert files(blobs) == []


def test_an_owner_that_holds_something_else_frees_what_it_held(blobs: Blobs, database: Database) -> None:
    first, second = blobs.put(b"one"), blobs.put(b"two")
    with database.write() as db:
        store.hold(db, first, "run:1/a")
        store.hold(db, second, "run:1/a")
        assert store.orphans(db) == [first.sha256]


def test_names_with_wildcards_release_only_themselves(blobs: Blobs, database: Database) -> None:
    blob = blobs.put(b"x")
    with database.write() as db:
        store.hold(db, blob, "run:a_c/x")
        store.hold(db, blob, "run:abc/x")
        store.release(db, "run:a_c/", below=True)
        assert store.orphans(db) == []


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("this machine does not let us mount")
    try:
        blobs = Blobs(small / "blobs")
        with pytest.raises(StorageFull):
            blobs.put(iter([b"x" * 400_000] * 5))
        assert files(blobs) == []
        assert blobs.read(blobs.put(b"small").sha256) == b"small"
    finally:
        os.system(f"umount {small}")
