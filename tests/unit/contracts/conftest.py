"""The example files, and copies of them with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.contracts import load_policy
from governance.model.policy import Policy
from governance.model.resources import schemas

Changed = Callable[..., Path]


@pytest.fixture(scope="session")
def examples() -> Path:
    return schemas() / "examples"


@pytest.fixture(scope="session")
def policy(examples: Path) -> Policy:
    return load_policy(examples / "policy.yaml")


@pytest.fixture
def changed(examples: Path, tmp_path: Path) -> Changed:
    def change(name: str, *replacements: tuple[str, str]) -> Path:
        text = (examples / name).read_text("utf-8")
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return change
