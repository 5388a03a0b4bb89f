"""One world for all tests of the room; nothing changes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_story import full_world
from audit_world import World

from governance.audit import MadeReport, make_report


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return full_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def reports(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="session")
def art30(world: World, reports: Path) -> MadeReport:
    return make_report(world, "gdpr-art30", reports, bundle=True)


@pytest.fixture(scope="session")
def accounting(world: World, reports: Path) -> MadeReport:
    return make_report(world, "hipaa-528", reports, bundle=True)
