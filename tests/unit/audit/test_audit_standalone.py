"""The verifier that every bundle carries: alone, with nothing but Python and ``cryptography``."""

from __future__ import annotations

import base64
import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cryptography
import pytest
from audit_world import ORIGIN, Key, World
from hypothesis import example, given, settings
from hypothesis import strategies as st

from governance.audit import MadeReport, make_report
from governance.audit.bundle import manifest, sign
from governance.audit.checking import container
from governance.audit.standalone import answering, checking, proving
from governance.log import CheckpointSigner, Log, vkey_of
from governance.log.note import add_signatures
from governance.log.rotation import rotate
from governance.log.witnesses.cosignature import cosign
from governance.model.canonical import canonical

Members = dict[str, bytes]


@pytest.fixture(scope="session")
def members(accounting: MadeReport) -> Members:
    assert accounting.bundle is not None
    return dict(container.read(accounting.bundle).members)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    def check(members: Members, *options: str) -> tuple[int, dict[str, Any]]:
        path = tmp_path / "bundle.zip"
        path.write_bytes(container.pack(members))
        code = answering.main([str(path), "--json", *options])
        return code, json.loads(capsys.readouterr().out)

    return check


def relisted(members: Members, signer: Key) -> Members:
    members = members | {"manifest.json": manifest(members)}
    return members | {"signature.json": sign(members["manifest.json"], signer)}


def test_it_runs_where_nothing_but_cryptography_is(
    tmp_path: Path, world: World, accounting: MadeReport, members: Members
) -> None:
    assert accounting.bundle is not None
    site, installed = tmp_path / "site", Path(cryptography.__file__).parents[1]
    site.mkdir()
    for name in installed.iterdir():
        if name.name.startswith(("cryptography", "cffi", "_cffi")):
            (site / name.name).symlink_to(name)
    (tmp_path / "verify.py").write_bytes(members["verify.py"])
    start = (
        "import sys, runpy; sys.path = [p for p in sys.path if 'site-packages' not in p];"
        f"sys.path.append({str(site)!r}); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start, "verify.py", str(accounting.bundle), "--key", world.vkey],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED, self-attested\n") and "SELF-ATTESTED" in done.stdout
    assert "cells rest on declarations alone" in done.stdout


def test_it_checks_every_kind_and_every_older_checkpoint(
    tmp_path: Path, world: World, art30: MadeReport, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    assert art30.bundle is not None
    whole = dict(container.read(art30.bundle).members)
    for number, note in enumerate(world.log.storage.checkpoints()):
        (tmp_path / f"{number}.txt").write_text(note)
        code, said = run(whole, "--key", world.vkey, "--checkpoint", str(tmp_path / f"{number}.txt"))
        assert code == 0 and said["ok"] and said["rows"] == len(art30.record["rows"]), said
    observed = art30.record["verdict"]["cells"]["observed"]
    assert any(line.startswith(f"Of {observed:,} observed cells ") for line in said["lines"])
    fork = World(tmp_path / "fork", start=world.start)
    fork.batch(1, 1)
    (tmp_path / "fork.txt").write_text(fork.log.checkpoint().note)
    code, said = run(whole, "--key", world.vkey, "--checkpoint", str(tmp_path / "fork.txt"))
    assert code == 1 and said["first_failure"].startswith("the older checkpoint: ")


def test_without_a_pinned_key_nothing_is_green(
    members: Members, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    code, said = run(members)
    assert code == 3 and not said["ok"] and said["lines"][0].startswith("NO KEY WAS PINNED")
    code, said = run(members, "--key", vkey_of("governance.example/meridian", Key("another").public_key))
    assert code == 1 and said["first_failure"].startswith("key.txt: ")


def test_a_pinned_witness_is_named(
    world: World, members: Members, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    from governance.log.witnesses.cosignature import WitnessKey

    witness = Key("witness")
    note = members["checkpoint.txt"].decode()
    text = note.rpartition("\n\n")[0] + "\n"
    noted = add_signatures(note, [cosign(text, "witness.example", witness, 1_800_000_000)])
    record = json.loads(members["record.json"])
    record["as_of"]["checkpoint"] = noted
    seen = relisted(
        members | {"checkpoint.txt": noted.encode(), "record.json": canonical(record)}, world.root
    )
    key = str(WitnessKey.of("witness.example", witness.public_key))
    code, said = run(seen, "--key", world.vkey, "--witness", key)
    assert code == 0 and said["by"] == "witnessed by witness.example"
    other = str(WitnessKey.of("witness.example", Key("other").public_key))
    for options in (["--witness", other], ["--witness", key, "--needed", "2"]):
        code, said = run(seen, "--key", world.vkey, *options)
        assert code == 0 and said["by"] == "self-attested"


def _edit(data: bytes, edit: Callable[[Any], Any]) -> bytes:
    value = json.loads(data)
    edit(value)
    return canonical(value)


@pytest.mark.parametrize(
    ("name", "edit", "says"),
    [
        ("record.json", lambda r: r["rows"][0]["cells"]["date"].update(cites=[7]), "cites entry 7"),
        (
            "record.json",
            lambda r: r["rows"][0]["cells"]["date"].update(basis="declared"),
            "counts other cells",
        ),
        ("record.json", lambda r: r["rows"][0]["cells"]["date"].update(cites=[]), "cites no entry"),
        ("record.json", lambda r: r["exceptions"].clear(), "counts other exceptions"),
        ("record.json", lambda r: r["as_of"].update(size=1), "as_of"),
        ("record.json", lambda r: r["entries"][0].update(principal="nobody"), "described as another"),
        ("proofs.json", lambda p: p["inclusion"][3]["hashes"].reverse(), "not under the root"),
        ("entries/82.json", lambda e: e.update(salt=base64.b64encode(bytes(32)).decode()), "commits to"),
        ("entries/82.json", lambda e: e.update(index=81), "another entry"),
    ],
)
def test_what_the_operator_signed_is_checked_all_the_same(
    world: World,
    members: Members,
    run: Callable[..., tuple[int, dict[str, Any]]],
    name: str,
    edit: Callable[[Any], Any],
    says: str,
) -> None:
    altered = relisted(members | {name: _edit(members[name], edit)}, world.root)
    code, said = run(altered, "--key", world.vkey)
    assert code == 1 and says in said["first_failure"], said["first_failure"]


def test_one_flipped_bit_is_found(
    world: World, members: Members, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    drawn = random.Random(7)
    for name in [*sorted(members), *drawn.choices(sorted(members), k=60)]:
        raw = bytearray(members[name])
        raw[drawn.randrange(len(raw))] ^= 1 << drawn.randrange(8)
        code, said = run(members | {name: bytes(raw)}, "--key", world.vkey)
        also = "signature.json" if name == "manifest.json" else name
        assert code == 1 and said["first_failure"].partition(": ")[0] in (name, also), said["first_failure"]


@pytest.mark.parametrize("junk", [b"", b"[]", b"null", b"[" * 5000, b'{"index":1e400}', b"\xff", b"NaN"])
@pytest.mark.parametrize("name", sorted([*checking.NEEDED, "entries/0.json"]))
def test_junk_is_named(
    world: World,
    members: Members,
    run: Callable[..., tuple[int, dict[str, Any]]],
    name: str,
    junk: bytes,
) -> None:
    code, said = run(members | {name: junk}, "--key", world.vkey)
    assert code == 1 and said["first_failure"].partition(": ")[0] in (
        name,
        "signature.json" if name == "manifest.json" else "checkpoint.txt",
    )


def test_bombs_and_other_files_are_refused(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    import zipfile

    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record.json", b"0" * 50_000_000)
    for path in (bomb, Path(__file__), tmp_path / "absent.zip"):
        assert answering.main([str(path), "--key", world.vkey]) == 1
        assert capsys.readouterr().out.startswith("NOT VERIFIED: ")
    with pytest.raises(SystemExit) as wrong:
        answering.main([str(bomb), "--key", "not a key"])
    assert wrong.value.code == 2


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


RFC_8785_NUMBERS = {
    "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324", "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308", "4340000000000000": "9007199254740992",
    "4430000000000000": "295147905179352830000", "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23", "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000", "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21", "3eb0c6f7a0b5ed8c": "9.999999999999997e-7", "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332", "41b3de4355555555": "333333333.3333333",
    "becbf647612f3696": "-0.0000033333333333333333", "43143ff3c1cb0959": "1424953923781206.2",
}  # fmt: skip
"""Appendix B: IEEE 754 in hexadecimal, and what is written."""


@pytest.mark.parametrize("write", [canonical, proving.canonical], ids=["software", "verifier"])
def test_the_vectors_of_rfc_8785(write: Callable[[Any], bytes]) -> None:
    for bits, text in RFC_8785_NUMBERS.items():
        assert write([struct.unpack(">d", bytes.fromhex(bits))[0]]) == f"[{text}]".encode(), bits
    sample = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    assert write(sample).hex() == (
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e33333333"
        "3333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75303030665c6e412742"
        "5c225c5c5c5c5c222f227d"
    )
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(write(dict.fromkeys(reversed(ordered), 0)))) == ordered, "by UTF-16, section 3.2.3"


@settings(max_examples=200, deadline=None)
@given(_JSON)
@example([1e21, 1e-7, 1e-6, 5e-324, 123456789012345680000.0, 0.97, -0.0, 1e23, 1.5e300])
@example({"\ue000": 1, "\U00010000": 2, "\x7f": "\u2028"})
def test_its_canonical_form_is_that_of_rfc_8785(value: Any) -> None:
    """The outside reference is the package rfc8785, by Trail of Bits."""
    assert proving.canonical(value) == canonical(value)


def test_a_key_pinned_before_rotations_leads_to_the_bundle(
    tmp_path: Path, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    turned = World(tmp_path / "turned")
    pinned = [turned.vkey]
    signer = CheckpointSigner(Key("log"), ORIGIN, turned.folder / "signer" / "memory.note")
    for number in (1, 2):
        turned.batch(number, number)
        key, _ = rotate(turned.log, signer, Key(f"log {number}"), turned.clock(), "admin:cli")
        pinned.append(str(key))
        storage = turned.log.storage
        turned.log = Log(storage, signer=signer, clock=turned.clock)
    turned.vkey = pinned[-1]
    made = make_report(turned, "gdpr-art30", tmp_path / "out", bundle=True)
    assert made.bundle is not None
    rotated = dict(container.read(made.bundle).members)
    for vkey in pinned:
        code, said = run(rotated, "--key", vkey)
        assert code == 0 and said["ok"], said
    for altered in (b"[]", _edit(rotated["rotations.json"], lambda r: r.pop(1))):
        code, said = run(relisted(rotated | {"rotations.json": altered}, turned.root), "--key", pinned[0])
        assert code == 1 and said["first_failure"].startswith(("key.txt: ", "checkpoint.txt: ")), said
    turned.log.storage.close()
