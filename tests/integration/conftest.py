"""A governance home made once, and a fresh copy of it for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from governed_home import DATASETS, Home

from governance.model.evidence import Stage
from governance.pipeline.run import STEPS
from governance.pipeline.step import RunContext, RunReference

ROWS, SEED = 400, 7


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample input, keys, ledger and log; nothing was run."""
    from governance.demo.home import prepare

    return prepare(
        tmp_path_factory.mktemp("prepared") / "home", rows=ROWS, seed=SEED, say=lambda _: None
    ).home


@pytest.fixture(scope="session")
def released_once(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which all three datasets were released once. Only to be copied or read."""
    home = Home.copied(prepared_home, tmp_path_factory.mktemp("released") / "home")
    for dataset in DATASETS:
        home.run(dataset)
    return home.path


@pytest.fixture(scope="session")
def validated_once(
    released_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunReference]:
    """A home with a released version of the customers and a second one validated, ready for release."""
    home = Home.copied(released_once, tmp_path_factory.mktemp("validated") / "home")
    context = home.open("customer_profiles")
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(context)
    return home.path, context.reference


@pytest.fixture
def home(prepared_home: Path, tmp_path: Path) -> Home:
    return Home.copied(prepared_home, tmp_path / "home")


@pytest.fixture
def released(released_once: Path, tmp_path: Path) -> Home:
    return Home.copied(released_once, tmp_path / "home")


@pytest.fixture
def validated(validated_once: tuple[Path, RunReference], tmp_path: Path) -> tuple[Home, RunContext]:
    home = Home.copied(validated_once[0], tmp_path / "home")
    return home, home.resumed(validated_once[1])
