"""A move that is killed at any moment leaves the former KEK in use, or the new one, and loses no key."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from governance.errors import ProtectionError
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring


def _opened(directory: Path, uri: str) -> Keyring | None:
    try:
        return Keyring.open(directory, provider_for(uri))
    except ProtectionError as error:
        assert error.code == "GOV-303"
        return None


def test_a_killed_move_is_the_old_or_the_new(tmp_path: Path) -> None:
    keys, uri = tmp_path / "keys", create_file_key(tmp_path / "first.json")
    keyring = Keyring.create(keys, provider_for(uri))
    held = {keyring.new_segment_key(f"s{number}", "restricted"): b"" for number in range(20)}
    held = {key_id: keyring.segment_key(key_id) for key_id in held}
    keyring.close()
    moments = random.Random(5)
    for number in range(8):
        target = create_file_key(tmp_path / f"{number}.json")
        child = os.fork()
        if child == 0:
            Keyring.open(keys, provider_for(uri)).move(provider_for(target))
            os._exit(0)
        time.sleep(moments.uniform(0, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (found,) = [keyring for each in (uri, target) if (keyring := _opened(keys, each))]
        assert {key_id: found.segment_key(key_id) for key_id in held} == held
        found.confirm(provider_for)
        assert all(each.told_at for each in found.destructions)
        if found.provider == target:
            assert provider_for(uri).epochs(found._store) == ()
        uri = found.provider
        found.close()
