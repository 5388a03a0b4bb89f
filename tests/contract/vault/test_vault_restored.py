"""A home whose log, consent heads and vault are in PostgreSQL, backed up as docs/erasure.md says and restored."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from vault_place import in_schema

from governance.config import Settings
from governance.errors import GovernanceError
from governance.keys.providers.file import create_file_key
from governance.model.canonical import parse
from governance.model.resources import schemas
from governance.pipeline.local import local_recorder
from governance.pipeline.rotation import KEYS
from governance.pipeline.vault_moves import move_home_vault
from governance.pipeline.workspace import Workspace
from governance.rights import finish, request_erasure

SUBJECT = "C-0042"


@dataclass(frozen=True)
class Deployment:
    """``settings`` of a home in ``folder`` with its key file beside it, outside of every backup."""

    folder: Path
    server: str
    schema: str

    @property
    def settings(self) -> Settings:
        store = in_schema(self.server, self.schema)
        return Settings.at(self.folder / "home", kek=f"file:{self.folder}/kek/kek.json", store=store)

    def open(self) -> Workspace:
        return Workspace.open(self.settings)

    def known(self) -> bool:
        workspace = self.open()
        found = workspace.vault.resolve("customer", pa.array([SUBJECT]), create=False)
        workspace.close()
        return bool(found[0] >= 0)

    def tool(self, name: str, *arguments: str) -> None:
        """One of the server's own programs."""
        import psycopg

        with psycopg.connect(self.server) as connection:
            row = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
        program = Path(row[0] if row else "") / name
        if not program.is_file():
            pytest.skip(f"the server's {name} is not on this machine")
        done = subprocess.run([program, *arguments], check=False, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()

    def back_up(self, target: Path) -> None:
        """Rows first: a key store from after them opens them, one from before might lack their keys."""
        target.mkdir()
        for name, what in (
            ("database", f"--schema={self.schema}"),
            ("vault", f"--table={self.schema}.governance_vault*"),
        ):
            self.tool("pg_dump", "--format=custom", what, f"--file={target}/{name}.dump", self.server)
        shutil.copytree(self.folder / "home", target / "home")

    def restore(self, source: Path, *parts: str) -> None:
        """Dumps by their names, directories of the home by theirs with a slash before."""
        for part in parts:
            if part.startswith("/"):
                shutil.rmtree(f"{self.folder}/home{part}")
                shutil.copytree(f"{source}/home{part}", f"{self.folder}/home{part}")
            else:
                self.tool(
                    "pg_restore", "--clean", "--if-exists", "--single-transaction",
                    f"--dbname={self.server}", f"{source}/{part}.dump",
                )  # fmt: skip

    def erase(self) -> None:
        workspace = self.open()
        done = request_erasure(
            workspace,
            local_recorder(workspace, "erasure", "R"),
            request="R",
            domain="customer",
            identifiers=pa.array([SUBJECT]),
            ground="objection",
            approve=lambda _: True,
        )
        assert done is not None
        workspace.close()


@pytest.fixture
def deployment(postgres: str, tmp_path: Path) -> Iterator[Deployment]:
    import psycopg

    schema = f"home_{secrets.token_hex(6)}"
    made = Deployment(tmp_path, postgres, schema)
    (tmp_path / "kek").mkdir()
    create_file_key(tmp_path / "kek" / "kek.json")
    (tmp_path / "home").mkdir()
    shutil.copy(schemas() / "examples" / "policy.yaml", tmp_path / "home")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        workspace = Workspace.create(made.settings, origin="example.com/log")
        workspace.vault.resolve("customer", pa.array([SUBJECT, "C-1"]), create=True)
        workspace.close()
        yield made
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def refused(deployment: Deployment) -> str:
    with pytest.raises(GovernanceError) as caught:
        deployment.open()
    assert SUBJECT not in str(caught.value)
    return caught.value.code


def test_restored_from_before_an_erasure(deployment: Deployment, tmp_path: Path) -> None:
    named = deployment.folder / "home" / "vault"
    assert [path.name for path in named.iterdir()] == ["vault.name"]
    everything = ("database", "/keys", "/vault", "/signer")
    before = tmp_path / "before"
    deployment.back_up(before)
    deployment.restore(before, *everything)
    assert deployment.known(), "a backup of one moment is the home of that moment"

    deployment.erase()
    assert not deployment.known()
    # The tombstone is in the log and its request is kept: an older vault is brought up to it.
    deployment.restore(before, "vault")
    assert not deployment.known()

    at_once = tmp_path / "at-once"
    deployment.back_up(at_once)
    # All from before the epoch was rotated: nothing in it knows. The signer's memory, outside of it, does.
    deployment.restore(before, "database", "/keys", "/vault")
    assert deployment.known()
    workspace = deployment.open()
    with pytest.raises(GovernanceError, match="GOV-503"):
        workspace.log.checkpoint()
    workspace.close()
    # With the signer's memory too, and without a witness, it cannot be known: nothing refuses.
    deployment.restore(before, "/signer")
    workspace = deployment.open()
    workspace.log.checkpoint()
    workspace.close()
    assert deployment.known()

    deployment.restore(at_once, *everything)
    workspace = deployment.open()
    finish(workspace)
    workspace.close()
    after = tmp_path / "after"
    deployment.back_up(after)
    for parts in (("vault",), ("vault", "/keys"), everything):
        deployment.restore(before, *parts)
        assert refused(deployment) in ("GOV-303", "GOV-307"), parts
        deployment.restore(after, *everything)
        assert not deployment.known()


def test_a_homes_vault_moves_by_a_command_that_the_log_knows(deployment: Deployment) -> None:
    workspace = deployment.open()
    before = workspace.vault.internal("customer").tobytes()
    moved = move_home_vault(workspace, into_database=False)
    workspace.close()
    assert (deployment.folder / "home" / "vault" / "vault.sqlite").exists()
    assert deployment.known()
    deployment.erase()
    workspace = deployment.open()
    move_home_vault(workspace, into_database=True)
    with pytest.raises(GovernanceError, match="already"):
        move_home_vault(workspace, into_database=True)
    workspace.close()
    assert not deployment.known(), "what was erased in between stays so"
    workspace = deployment.open()
    assert workspace.vault.internal("customer").tobytes()[16:] == before[16:]
    said = [parse(e.body or b"") for e in workspace.log.entries() if e.envelope.media_type == KEYS]
    begun, done = "vault-move-begun", "vault-moved"
    assert [leaf["action"] for leaf in said] == [begun, done, begun, done, begun]
    assert (said[1]["source"], said[1]["pages"]) == (moved["source"], moved["pages"])
    assert SUBJECT not in str(said)
    workspace.close()
