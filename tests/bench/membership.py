"""Who holds a person: one question of many sealed membership indexes, each of many subjects.

Full size is up to 1,000 versions of 1,000,000 subjects (16 GB of disk, removed at the end). The pseudonyms are the same in every
index and are sealed anew for each, so that nothing is shared between them on disk or in a cache.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, value_of

QUICK = ((100, 10_000), (100, 100_000))
FULL = ((100, 100_000), (1_000, 100_000), (100, 1_000_000), (1_000, 1_000_000))


def measure(versions: int, subjects: int) -> dict[str, Any]:
    """Seal the indexes in a home of their own, ask for a subject of them and for another one."""
    import numpy as np

    from governance.keys.providers.file import create_file_key
    from governance.keys.providers.provider import provider_for
    from governance.keys.store import Keyring
    from governance.pipeline.membership import MEMBERSHIP, Members, seal_members

    root = OUT / f"membership-{versions}-{subjects}"
    shutil.rmtree(root, ignore_errors=True)
    (root / "kek").mkdir(parents=True)
    create_file_key(root / "kek" / "kek.json")
    keyring = Keyring.create(root / "keys", provider_for(f"file:{root}/kek/kek.json", None))
    held = np.random.default_rng(versions).integers(0, 256, (subjects, 16), np.uint8)
    names = [f"v{number:06d}" for number in range(versions)]
    began = time.process_time()
    for name in names:
        key = keyring.segment_key(keyring.new_segment_key(name, MEMBERSHIP))
        (root / name).write_bytes(seal_members(held, key, name))
    sealing = (time.process_time() - began) / versions

    def ask(wanted: Any) -> int:
        found = 0
        for name in names:
            with (root / name).open("rb", buffering=0) as file:

                def read(offset: int, size: int, file: Any = file) -> bytes:
                    file.seek(offset)
                    return bytes(file.read(size))

                members = Members(read, keyring.segment_key(f"seg.{name}.{MEMBERSHIP}"), name)
                found += bool(members.contains(wanted).any())
        return found

    def timed(wanted: Any, expected: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        assert ask(wanted) == expected
        return time.perf_counter() - wall, time.process_time() - cpu

    try:
        first = timed(held[:1], versions)
        again = timed(held[subjects // 2 :][:1], versions)
        stranger = timed(np.random.default_rng(0).integers(0, 256, (1, 16), np.uint8), 0)
        size = sum((root / name).stat().st_size for name in names)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return {
        "versions": versions,
        "subjects": subjects,
        "first_wall_s": round(first[0], 3),
        "wall_s": round(again[0], 3),
        "cpu_s": round(again[1], 3),
        "stranger_wall_s": round(stranger[0], 3),
        "sealing_cpu_s": round(sealing, 4),
        "bytes_a_subject": round(size / versions / subjects, 2),
    }


def experiments(quick: bool) -> list[Experiment]:
    made = []
    for versions, subjects in QUICK if quick else FULL:
        name = f"membership.{versions}x{subjects // 1_000}k"
        figures = [
            Figure(f"{name}.first", "s", value_of("first_wall_s"), Goal("value", 1.0, unit="s")),
            Figure(f"{name}.again", "s", value_of("wall_s"), Goal("value", 1.0, unit="s")),
            Figure(f"{name}.sealing", "CPU s a version", value_of("sealing_cpu_s")),
            Figure(f"{name}.size", "B a subject", value_of("bytes_a_subject")),
        ]
        shape = {"versions": versions, "subjects": subjects}
        made.append(Experiment(name, Call("membership:measure", shape), figures, pairs=1, context=shape))
    return made
