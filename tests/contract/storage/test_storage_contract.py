"""What every storage promises, whatever its scheme."""

import multiprocessing
import threading

import pytest

from governance.errors import StorageError
from governance.storage import Storage, storage_for

SPAWN = multiprocessing.get_context("spawn")


def test_an_empty_root_reads_as_empty(storage: Storage) -> None:
    assert storage.list() == []
    assert storage.list("nowhere") == []
    assert storage.pointer("current") is None
    assert not storage.exists("a")
    storage.remove_tree("a")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.read("a")


def test_write_read_list_exists(storage: Storage, uri: str) -> None:
    storage.write("a/b/c.bin", b"1")
    storage.write("a/b.bin", b"")
    storage.write("a/b/c.bin", b"2" * 100_000)
    again = storage_for(uri)
    assert again.read("a/b/c.bin") == b"2" * 100_000
    assert again.read("a/b.bin") == b""
    assert again.list() == ["a/b.bin", "a/b/c.bin"]
    assert again.list("a/b") == ["a/b/c.bin"]
    assert again.exists("a/b/c.bin")


def test_what_arrow_writes_is_listed_and_synced(storage: Storage) -> None:
    storage.make_directory("v/data")
    with storage.filesystem().open_output_stream(storage.path("v/data/x.parquet")) as stream:
        stream.write(b"bytes")
    storage.sync("v")
    assert storage.read("v/data/x.parquet") == b"bytes"
    assert storage.list("v") == ["v/data/x.parquet"]


def test_remove_tree(storage: Storage) -> None:
    storage.write("v/1/a", b"a")
    storage.write("v/2/a", b"a")
    storage.remove_tree("v/1")
    assert storage.list() == ["v/2/a"]
    storage.remove_tree("v/2/a")
    assert storage.list() == []


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", ".", "a/", "a\0b"]
)
def test_paths_stay_below_the_root(storage: Storage, path: str) -> None:
    for use in (
        lambda: storage.write(path, b""),
        lambda: storage.read(path),
        lambda: storage.exists(path),
        lambda: storage.list(path),
        lambda: storage.path(path),
        lambda: storage.make_directory(path),
        lambda: storage.remove_tree(path),
        lambda: storage.sync(path),
        lambda: storage.pointer(path),
        lambda: storage.swap_pointer(path, None, b""),
    ):
        with pytest.raises(StorageError, match="GOV-724"):
            use()


def test_the_root_itself_is_not_removed(storage: Storage) -> None:
    storage.write("a", b"")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.remove_tree("")
    assert storage.list() == ["a"]


def test_swap_compares(storage: Storage) -> None:
    with pytest.raises(StorageError, match="GOV-721"):
        storage.swap_pointer("current", b"v0", b"v1")
    storage.swap_pointer("current", None, b"v1")
    with pytest.raises(StorageError, match="GOV-721"):
        storage.swap_pointer("current", None, b"v2")
    storage.swap_pointer("current", b"v1", b"v2")
    assert storage.pointer("current") == b"v2"
    assert storage.pointer("other") is None


def _race(uri: str, barrier, wins, worker: int, rounds: int) -> None:
    storage = storage_for(uri)
    for number in range(rounds):
        expected = storage.pointer("current")
        barrier.wait()
        try:
            storage.swap_pointer("current", expected, f"{number} {worker}".encode())
        except StorageError as error:
            assert error.code == "GOV-721"
        else:
            wins.put((number, worker))
        barrier.wait()


def test_of_many_processes_exactly_one_wins(uri: str) -> None:
    workers, rounds = 4, 25
    barrier, wins = SPAWN.Barrier(workers), SPAWN.Queue()
    processes = [SPAWN.Process(target=_race, args=(uri, barrier, wins, n, rounds)) for n in range(workers)]
    for process in processes:
        process.start()
    won = [wins.get() for _ in range(rounds)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * workers
    assert wins.empty()
    assert sorted(number for number, _ in won) == list(range(rounds))


def test_of_many_threads_exactly_one_wins(storage: Storage) -> None:
    outcomes: list[str] = []

    def swap(worker: int) -> None:
        try:
            storage.swap_pointer("current", None, str(worker).encode())
        except StorageError as error:
            outcomes.append(error.code)
        else:
            outcomes.append("won")

    threads = [threading.Thread(target=swap, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["GOV-721"] * 15 + ["won"]


def _swap_forever(uri: str, started) -> None:
    storage = storage_for(uri)
    values = [letter * 300_000 for letter in (b"a", b"b")]
    storage.swap_pointer("current", None, values[1])
    started.set()
    while True:
        storage.swap_pointer("current", values[1], values[0])
        storage.swap_pointer("current", values[0], values[1])


def test_a_reader_never_sees_a_part_and_kill_9_leaves_old_or_new(uri: str) -> None:
    started = SPAWN.Event()
    process = SPAWN.Process(target=_swap_forever, args=(uri, started))
    process.start()
    assert started.wait(60)
    storage = storage_for(uri)
    for _ in range(300):
        value = storage.pointer("current")
        assert value is not None
        assert len(value) == 300_000
        assert len(set(value)) == 1
    process.kill()
    process.join()
    value = storage.pointer("current")
    assert value is not None
    assert len(value) == 300_000
    assert storage.list() == ["current"]
    storage.swap_pointer("current", value, b"next")
    storage.sweep()
    assert storage.pointer("current") == b"next"
