"""Release is all or nothing, whatever is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from before_and_after import (
    CUSTOMERS,
)
from governed_home import Home
from killed_release import POINTS

from governance.model.evidence import Stage
from governance.pipeline.release import release
from governance.pipeline.step import RunReference


@pytest.fixture(scope="module")
def killed(
    validated_once: tuple[Path, RunReference], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Home]:
    """A home for each point at which its release was killed."""
    path, reference = validated_once
    homes = {p: Home.copied(path, tmp_path_factory.mktemp("killed") / "home") for p in POINTS}
    driver = Path(__file__).with_name("killed_release.py")
    arguments = [reference.version, reference.attempt, *(str(h.path) for h in homes.values())]
    subprocess.run([sys.executable, "-W", "ignore", str(driver), *arguments], check=True)
    return homes


@pytest.mark.parametrize("next_step", ["retry", "another run"])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_release_is_whole_or_not_there_and_finished_once(
    point: str,
    next_step: str,
    killed: dict[str, Home],
    validated_once: tuple[Path, RunReference],
    tmp_path: Path,
) -> None:
    home = Home.copied(killed[point].path, tmp_path / "home")
    reference = validated_once[1]
    moved = POINTS.index(point) >= POINTS.index("after the swap")
    previous = Home(validated_once[0]).manifest(CUSTOMERS).version
    assert home.manifest(CUSTOMERS).version == (reference.version if moved else previous)
    assert home.rows(CUSTOMERS).num_rows == Home(validated_once[0]).rows(CUSTOMERS).num_rows
    if next_step == "retry":
        assert release(home.resumed(reference))["state"] == "released"
        assert home.manifest(CUSTOMERS).version == reference.version
    else:
        assert home.run(CUSTOMERS).reference.version == home.manifest(CUSTOMERS).version
    said = [
        f["facts"]
        for f in home.evidence(Stage.RELEASE, CUSTOMERS)
        if (f["context"]["version"], f["context"]["attempt"]) == (reference.version, reference.attempt)
    ]
    released = [f for f in said if f["state"] == "released"]
    assert len(released) == (1 if moved or next_step == "retry" else 0)
    assert "quarantined" not in {f["state"] for f in said}
    if released:
        unsaid = point == "after the swap"
        assert [f["recovered"] for f in released] == [unsaid]
    assert home.cli("log", "verify", "--json")[0] == 3
