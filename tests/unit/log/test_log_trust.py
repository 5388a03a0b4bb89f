"""witnesses.yaml: who is asked, and what a verifier pins."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_log_witness_client import PINNED, VKEY

from governance.errors import LogError, SettingError
from governance.log.witnesses.trust import FILE, Trust, WitnessAt

WRONG = {
    "no YAML": "a: [",
    "no mapping": "- a",
    "an unknown member": "witness: []",
    "a malformed key": "witnesses: [{key: x, url: 'http://a'}]",
    "no url": f"witnesses: [{{key: '{PINNED}'}}]",
    "another scheme": f"witnesses: [{{key: '{PINNED}', url: 'file:///etc'}}]",
    "a password": f"witnesses: [{{key: '{PINNED}', url: 'https://a:b@c'}}]",
    "too many needed": f"needed: 2\nwitnesses: [{{key: '{PINNED}', url: 'http://a'}}]",
    "none needed": f"needed: 0\nwitnesses: [{{key: '{PINNED}', url: 'http://a'}}]",
    "not a number": "needed: many",
    "a witness twice": f"witnesses: [{{key: '{PINNED}', url: 'http://a'}}, {{key: '{PINNED}', url: 'http://b'}}]",
    "no time": "timeout: 0",
    "forever": "timeout: .inf",
    "no time at all": "timeout: .nan",
    "a missing certificate": "timestamps: [{url: 'http://a', certificates: none.pem}]",
    "a directory as certificate": "timestamps: [{url: 'http://a', certificates: .}]",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_wrong_settings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SettingError, match="GOV-901"):
        Trust.read(tmp_path / FILE)


def test_settings(tmp_path: Path) -> None:
    assert Trust.read(tmp_path / FILE) == Trust()
    (tmp_path / "ca.pem").write_text("a certificate")
    (tmp_path / FILE).write_text(
        f"needed: 1\ntimeout: 2.5\nwitnesses:\n- key: {PINNED}\n  url: https://w.example/\n"
        "timestamps:\n- {url: 'https://tsa.example/tsr', certificates: ca.pem}\n"
    )
    trust = Trust.read(tmp_path / FILE)
    assert trust.witnesses == (WitnessAt(PINNED, "https://w.example"),)
    assert (trust.needed, trust.timeout) == (1, 2.5)
    assert [(a.url, a.certificates) for a in trust.authorities] == [
        ("https://tsa.example/tsr", b"a certificate")
    ]
    assert Trust.pinned([str(PINNED)], None).needed == 1
    with pytest.raises(LogError, match="GOV-506"):
        Trust.pinned([VKEY], None)
