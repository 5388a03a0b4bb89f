#!/usr/bin/env python3
"""Checks a report bundle with nothing but Python (3.9 or later) and the package ``cryptography``.

    python verify.py BUNDLE.zip --key PUBLIC-KEY [--checkpoint OLDER.txt] [--witness PUBLIC-KEY]

It opens no network connection and writes no file. Take it, like the key, from somewhere other than the bundle:
whoever altered a bundle could have altered the verifier in it. It is written apart from the software that
makes the bundles and shares no line with it.

Checked: every file against the signed manifest; every row → cited entry → leaf → proof → checkpoint → pinned
key; the signature of every piece of evidence; that the log extends an older checkpoint. Not checked: that the
words of a row are what its entries give; ``governance verify`` computes every row again. Here that rests on
the signature of the operator over the record.

Exit codes: 0 verified, 1 something does not hold, 2 wrong use, 3 nothing is wrong but no key was pinned.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
import zipfile
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_BYTES, MAX_MEMBERS = 1 << 29, 60_000
MANIFEST_TYPE = b"application/vnd.governance.bundle-manifest+json"
ROTATION_TYPE = "application/vnd.governance.key-rotation+json"
EVENT_TYPE = "application/vnd.openlineage.run-event+json"
ROOT_SIGNED = ("open", "disclose", "erasure", "key_grant")
NEEDED = ("record.json", "checkpoint.txt", "key.txt", "proofs.json", "manifest.json", "signature.json")
NAME = re.compile(r"(?:[A-Za-z0-9-]+/)?[A-Za-z0-9-]+\.[a-z]+")


class Failed(Exception):
    """The first thing that does not hold: the file, and what is wrong."""


def fail(where: str, what: str) -> None:
    raise Failed(f"{where}: {what}")


def need(holds: Any, where: str, what: str) -> None:
    if not holds:
        fail(where, what)


# -- JSON in canonical form (RFC 8785) ------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return _canonical(value).encode("utf-8")


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(_canonical(key) + ":" + _canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMA-262 Number::toString, which RFC 8785 asks for."""
    if not math.isfinite(value):
        raise ValueError("not a number of JSON")
    if value == 0:
        return "0"
    sign, value = ("-" if value < 0 else ""), abs(value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = digits[:1] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def parsed(data: bytes, *, exact: bool = True) -> Any:
    """JSON with no member twice and no NaN; ``exact`` refuses every spelling but the canonical one."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member twice")
        return members

    def no_constant(name: str) -> None:
        raise ValueError(name)

    value = json.loads(data, object_pairs_hook=once, parse_constant=no_constant)
    if exact and canonical(value) != data:
        raise ValueError("not in canonical form")
    return value


def b64(text: Any) -> bytes:
    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise ValueError("stray bits")
    return value


# -- the tree (RFC 9162, sections 2.1.3.2 and 2.1.4.2) ----------------------------------------------


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    position, last, computed = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    if not 0 <= index < size:
        return False
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            computed = node(sibling, computed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node(computed, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and computed == root


def extends(first: int, old_root: bytes, second: int, root: bytes, path: list[bytes]) -> bool:
    if first == second:
        return not path and old_root == root
    if not 0 < first < second:
        return False
    path = [old_root, *path] if first & (first - 1) == 0 else list(path)
    if not path:
        return False
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node(sibling, old), node(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == root


# -- keys and signed notes (https://c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature) --------


def signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_key(text: str, kind: int = 1) -> tuple[str, bytes, bytes]:
    """Name, key id and public key of ``name+id+key``; ``kind`` 1 signs checkpoints, 4 cosigns."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    material = b64(encoded)
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if not name or material[:1] != bytes([kind]) or len(material) != 33 or expected.hex() != key_id:
        raise ValueError("not a public key")
    return name, expected, material[1:]


def read_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]], tuple[str, int, bytes]]:
    """Text, signatures (name, key id, value) and tree head (origin, size, root); nothing verified."""
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    if not blank or not lines.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise ValueError("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        value = b64(encoded)
        if dash != "\u2014" or len(value) < 5:
            raise ValueError("not a signature line")
        signatures.append((name, value[:4], value[4:]))
    head = text.split("\n")
    if re.fullmatch("0|[1-9][0-9]{0,18}", head[1]) is None or len(b64(head[2])) != 32:
        raise ValueError("not a checkpoint")
    return text, signatures, (head[0], int(head[1]), b64(head[2]))


def opened(note: str, keys: list[tuple[str, bytes, bytes]]) -> tuple[tuple[str, int, bytes], list[int]]:
    """The tree head of a note, and which of ``keys`` signed it. A known key's wrong signature is refused."""
    text, signatures, head = read_note(note)
    by = []
    for name, key_id, value in signatures:
        for place, key in enumerate(keys):
            if (name, key_id) == key[:2]:
                if not signed_by(key[2], value, text.encode()):
                    raise ValueError("its signature is wrong: it was altered")
                by.append(place)
    if not by:
        raise ValueError("it is not signed by the pinned key")
    return head, by


def cosigned(note: str, witnesses: list[tuple[str, bytes, bytes]]) -> list[str]:
    """Names of the pinned witnesses that cosigned."""
    text, signatures, _ = read_note(note)
    found = {}
    for name, key_id, value in signatures:
        for key in witnesses:
            if (name, key_id) == key[:2]:
                message = f"cosignature/v1\ntime {int.from_bytes(value[:8], 'big')}\n{text}".encode()
                if not signed_by(key[2], value[8:], message):
                    raise ValueError(f"the cosignature of {name} is wrong")
                found.setdefault(key[2], name)
    return list(found.values())


def rotation(handover: dict[str, Any]) -> tuple[str, str, tuple[str, int, bytes]]:
    """Old key, new key and tree head of a handover: both signed the statement and the checkpoint with it."""
    leaf, salt, body = (b64(handover[name]) for name in ("leaf", "salt", "body"))
    said, envelope = parsed(body), parsed(leaf)
    signatures = said.pop("signatures")
    old, new = read_key(said["old"]), read_key(said["new"])
    covered = b"governance key rotation v1\n" + canonical(said)
    head, _ = opened(handover["checkpoint"], [old])
    opened(handover["checkpoint"], [new])
    proof = handover["proof"]
    path = [b64(value) for value in proof["hashes"]]
    holds = (
        envelope["media_type"] == ROTATION_TYPE
        and envelope["digest"] == "sha256:" + hashlib.sha256(salt + body).hexdigest()
        and all(signed_by(k[2], b64(signatures[side]), covered) for side, k in (("old", old), ("new", new)))
        and head[0] == old[0] == new[0] == said["origin"]
        and proof["size"] == head[1]
        and proof["index"] == head[1] - 1
        and included(leaf, proof["index"], head[1], path, head[2])
    )
    if not holds:
        raise ValueError("a key rotation does not hold")
    return said["old"], said["new"], head


# -- the bundle ---------------------------------------------------------------------------------------


class Bundle:
    """One run over a bundle. ``lines`` grow as it gets on."""

    def __init__(self, path: str) -> None:
        self.lines: list[str] = []
        self.rows = 0
        self.by: list[str] = []
        self.files = self._read(path)
        self.entries: dict[int, tuple[dict[str, Any], bytes, bytes | None]] = {}
        self.evidence: dict[int, str] = {}

    def _read(self, path: str) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_BYTES:
                    fail(path, "is too large")
                for member in members:
                    plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
                    if not plain or member.file_size != member.compress_size:
                        fail(
                            path, f"{member.filename!r} is compressed or encrypted; no bundle has such files"
                        )
                    if NAME.fullmatch(member.filename) is None or member.filename in files:
                        fail(path, "holds a name that no bundle has, or one twice")
                    files[member.filename] = archive.read(member)
        except (
            OSError,
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
            EOFError,
        ) as error:
            fail(path, f"cannot be read as a bundle ({error})")
        return files

    def check(self, key: str | None, older: str | None, witnesses: list[str], needed: int) -> None:
        for name in NEEDED:
            need(name in self.files, name, "is missing")
        keys, sizes, heads = self._at("rotations.json", self._keys, key)
        self.head, by = self._at("checkpoint.txt", opened, self._text("checkpoint.txt"), keys)
        origin, size, root = self.head
        need(origin == keys[0][0] and size > 0, "checkpoint.txt", "is of another or an empty log")
        need(self._in_term(by, sizes, size), "checkpoint.txt", "is signed by a key that was retired by then")
        self.lines.append(f"The checkpoint of {origin} at {size:,} entries is signed by the log's key.")
        self.by = self._at(
            "checkpoint.txt", cosigned, self._text("checkpoint.txt"), [read_key(w, 4) for w in witnesses]
        )
        if len(self.by) < needed:
            self.by = []
        self.proofs = self._at("proofs.json", self._read_proofs)
        for old in heads:
            self._extends("rotations.json", old)
        for name in sorted(n for n in self.files if n.startswith("entries/")):
            self._at(name, self._entry, name)
        need(set(self.entries) == set(self.proofs[0]), "proofs.json", "proves other entries than there are")
        self.lines.append(
            f"{len(self.entries):,} entries: body, leaf and proof lead to the checkpoint's root hash."
        )
        root_key = self._at("entries/0.json", self._genesis, keys[0])
        self._at("signature.json", self._signature, root_key)
        self._at("manifest.json", self._manifest)
        self.lines.append("Every file is one that the evidence key of the log's first entry signed for.")
        self._evidence(root_key)
        self._at("record.json", self._record)
        if older is not None:
            head, by = self._at("the older checkpoint", opened, older, keys)
            need(self._in_term(by, sizes, head[1]), "the older checkpoint", "is signed by a retired key")
            self._extends("the older checkpoint", head)
            self.lines.append(f"The log extends the older checkpoint of {head[1]:,} entries.")
        else:
            self.lines.append("No older checkpoint was given, so a rewritten log would not be noticed.")

    def _at(self, where: str, step: Any, *given: Any) -> Any:
        """Whatever a malformed file makes of a step, the file is named."""
        try:
            return step(*given)
        except Failed:
            raise
        except Exception as fault:
            what = str(fault) if type(fault) is ValueError else "is not of the form bundles have"
            raise Failed(f"{where}: {what}") from None

    def _text(self, name: str) -> str:
        return self.files[name].decode("utf-8")

    def _keys(self, pinned: str | None) -> tuple[list[Any], list[int], list[tuple[str, int, bytes]]]:
        """The keys from the pinned one on, in order, the sizes at which one follows the other, and those trees."""
        named = self._text("key.txt").strip()
        found = [rotation(h) for h in parsed(self.files.get("rotations.json", b"[]"))]
        chain, sizes = [named], []
        for old, new, head in sorted(found, key=lambda item: -item[2][1]):
            if new == chain[0]:
                chain.insert(0, old)
                sizes.insert(0, head[1])
        need(sizes == sorted(sizes), "rotations.json", "contradicts itself")
        if pinned is not None and pinned not in chain:
            fail(
                "key.txt",
                "names another key than the one pinned, and no rotation leads from one to the other",
            )
        if pinned is None:
            self.lines.append(
                "NO KEY WAS PINNED: checked against the key that the bundle names itself. Anyone can make such a bundle."
            )
        return [read_key(text) for text in chain], sizes, [head for _, _, head in found]

    def _in_term(self, by: list[int], sizes: list[int], size: int) -> bool:
        return any(
            (place == 0 or sizes[place - 1] <= size) and (place == len(sizes) or size <= sizes[place])
            for place in by
        )

    def _read_proofs(self) -> tuple[dict[int, Any], dict[int, list[bytes]]]:
        said = parsed(self.files["proofs.json"])
        inclusion = {p["index"]: (p["size"], [b64(h) for h in p["hashes"]]) for p in said["inclusion"]}
        return inclusion, {p["size"]: [b64(h) for h in p["hashes"]] for p in said["consistency"]}

    def _extends(self, where: str, old: tuple[str, int, bytes]) -> None:
        _, size, root = self.head
        need(old[0] == self.head[0], where, "is of another log")
        need(old[1] <= size, where, "is newer than the bundle: it cannot be compared")
        need(
            old[1] == size or old[1] in self.proofs[1],
            where,
            "the bundle has no proof from it: it cannot be compared",
        )
        path = [] if old[1] == size else self.proofs[1][old[1]]
        need(extends(old[1], old[2], size, root, path), where, "the log does not extend it: it was rewritten")

    def _entry(self, name: str) -> None:
        said = parsed(self.files[name])
        index, leaf = said["index"], b64(said["leaf"])
        if (
            set(said) != {"index", "leaf", "body", "salt"}
            or name != f"entries/{index}.json"
            or type(index) is not int
        ):
            raise ValueError("it is another entry than its name says")
        envelope = parsed(leaf)
        body = None if said["body"] is None else b64(said["body"])
        if body is not None:
            covered = hashlib.sha256(b64(said["salt"]) + body).hexdigest()
            if envelope["digest"] != f"sha256:{covered}" or envelope["size"] != len(body):
                raise ValueError("its body is not the one its leaf commits to")
        if index not in self.proofs[0]:
            raise ValueError("proofs.json has no proof of it")
        size, path = self.proofs[0][index]
        if size != self.head[1] or not included(leaf, index, size, path, self.head[2]):
            raise ValueError("it is not under the root of the checkpoint")
        self.entries[index] = (envelope, leaf, body)

    def _genesis(self, first: tuple[str, bytes, bytes]) -> bytes:
        need(0 in self.entries and self.entries[0][2] is not None, "entries/0.json", "the genesis is missing")
        said = parsed(self.entries[0][2] or b"", exact=False)
        if read_key(said["log_public_key"]) != first:
            raise ValueError("the genesis names another key for the log")
        return b64(said["evidence_public_key"])

    def _signature(self, root_key: bytes) -> None:
        said, listing = parsed(self.files["signature.json"]), self.files["manifest.json"]
        if b64(said["public_key"]) != root_key:
            raise ValueError("is not by the evidence key that the genesis names")
        message = b"DSSEv1 %d %s %d %s" % (len(MANIFEST_TYPE), MANIFEST_TYPE, len(listing), listing)
        if said["payloadType"].encode() != MANIFEST_TYPE or not signed_by(
            root_key, b64(said["signature"]), message
        ):
            raise ValueError("does not hold: files may have been left out or exchanged")

    def _manifest(self) -> None:
        listed = parsed(self.files["manifest.json"])["files"]
        have = {n: "sha256:" + hashlib.sha256(d).hexdigest() for n, d in self.files.items()}
        for name in sorted({*listed, *have} - {"manifest.json", "signature.json"}):
            need(listed.get(name) == have.get(name), name, "is not the file that was signed for")

    def _evidence(self, root_key: bytes) -> None:
        """Which entries are evidence: signed by the evidence key, or by the key that a run's opening introduced."""
        run_keys: dict[bytes, bytes] = {}
        for index in sorted(self.entries):
            envelope, _, body = self.entries[index]
            if body is None or not envelope["principal"].startswith("evidence:"):
                continue
            try:
                event = parsed(body, exact=False)
                run = event["run"]
                [(name, facet)] = [f for f in run["facets"].items() if f[0].startswith("governance_")]
                stage, context, facts = facet["stage"], facet["context"], facet["facts"]
                identity = canonical(context)
                key = root_key if stage in ROOT_SIGNED else run_keys[identity]
                datasets = {"inputs": event.get("inputs") or [], "outputs": event.get("outputs") or []}
                signed = {
                    "stage": stage,
                    "context": context,
                    "facts": facts,
                    "datasets": "sha256:" + hashlib.sha256(canonical(datasets)).hexdigest(),
                    "openlineage_run_id": run.get("runId"),
                }
                signature = facet["signature"]
                if name != f"governance_{stage}" or b64(signature["public_key"]) != key:
                    continue
                if signed_by(key, b64(signature["value"]), canonical(signed)):
                    self.evidence[index] = stage
                    if stage == "open":
                        run_keys.setdefault(identity, b64(facts["run_public_key"]))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue

    def _record(self) -> None:
        record = parsed(self.files["record.json"])
        origin, size, root = self.head
        of = record["as_of"]
        if (of["origin"], of["size"], of["root"], of["checkpoint"]) != (
            origin, size, root.hex(), self._text("checkpoint.txt"),
        ):  # fmt: skip
            raise ValueError("as_of is not the bundle's checkpoint")
        for said in record["entries"]:
            envelope, leaf, body = self.entries[said["index"]]
            made = {
                "index": said["index"],
                "leaf_hash": hashlib.sha256(b"\x00" + leaf).hexdigest(),
                "body": "redacted" if body is None else "present",
                **{name: envelope[name] for name in ("media_type", "principal", "received_at")},
            }
            need(said == made, "record.json", f"entry {said['index']} is described as another than it is")
        self._cells(record)
        for kind in ("exceptions", "unknowns"):
            need(
                record["verdict"][kind] == len(record[kind]),
                "record.json",
                f"counts other {kind} than it lists",
            )
            for number, item in enumerate(record[kind], 1):
                self._cites(item["cites"], f"{kind[:-1]} {number} ({item['code']})")

    def _cells(self, record: dict[str, Any]) -> None:
        bases = dict.fromkeys(("observed", "declared", "conflicting", "unknown"), 0)
        signed, declared = 0, {}  # type: ignore[var-annotated]
        for number, row in enumerate(record["rows"], 1):
            for key, cell in row["cells"].items():
                self._cites(cell["cites"], f"row {number} ({row['title']}), {key}")
                bases[cell["basis"]] += 1
                signed += cell["basis"] == "observed" and any(i in self.evidence for i in cell["cites"])
                if cell["basis"] == "declared":
                    declared[key] = declared.get(key, 0) + 1
            self.rows = number
        need(bases == record["verdict"]["cells"], "record.json", "counts other cells than it has")
        need(self.rows == record["verdict"]["rows"], "record.json", "counts other rows than it has")
        self.lines += [
            f"{self.rows:,} rows: every entry they cite is here and proved. {len(self.evidence):,} entries are signed evidence.",
            f"Of {bases['observed']:,} observed cells {signed:,} rest on signed evidence, the others on what the log received.",
            f"{bases['conflicting']:,} cells conflict, {bases['unknown']:,} are unknown.",
            f"{bases['declared']:,} cells rest on declarations alone"
            + (
                ": " + ", ".join(f"{name} ({count:,})" for name, count in sorted(declared.items()))
                if declared
                else ""
            )
            + ".",
        ]

    def _cites(self, cites: list[int], where: str) -> None:
        for index in cites:
            need(
                index in self.entries,
                "record.json",
                f"{where} cites entry {index}, which the bundle does not have",
            )


CANNOT = (
    "Not computed again here: the words of the rows, which rest on the operator's signature; `governance verify` does it.",
    "Cannot be known from a bundle: whether entries that matter were never logged, counts over the whole log, whether "
    "what was recorded is true, and whether other copies exist.",
)


def main(arguments: list[str] | None = None) -> int:
    """Check a bundle; the exit code."""
    parser = argparse.ArgumentParser(prog="verify.py", description="Checks a report bundle offline.")
    parser.add_argument("bundle")
    parser.add_argument("--key", help="the log's public key, from somewhere other than the bundle")
    parser.add_argument("--checkpoint", help="file with an older checkpoint that the log must extend")
    parser.add_argument("--witness", action="append", default=[], help="a witness's public key; repeatable")
    parser.add_argument("--needed", type=int, help="cosignatures needed; default: of every --witness")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        for text, kind in [(asked.key, 1)] * bool(asked.key) + [(w, 4) for w in asked.witness]:
            read_key(text, kind)
        older = None if asked.checkpoint is None else open(asked.checkpoint, encoding="utf-8").read()  # noqa: SIM115
    except (ValueError, OSError):
        parser.error("a key or the older checkpoint cannot be read")
    failure, bundle = None, None
    try:
        bundle = Bundle(asked.bundle)
        needed = len(asked.witness) if asked.needed is None else asked.needed
        bundle.check(asked.key and asked.key.strip(), older, asked.witness, max(needed, 1))
    except Failed as fault:
        failure = str(fault)
    by = bundle.by if bundle else []
    lines = [*(bundle.lines if bundle else []), *CANNOT]
    attested = f"witnessed by {', '.join(by)}" if by else "self-attested"
    if not by:
        lines.append("SELF-ATTESTED: no pinned witness vouches for the checkpoint, only the log's own key.")
    heading = (
        "NOT VERIFIED: " + failure
        if failure
        else f"VERIFIED, {attested}"
        if asked.key
        else "NOT VERIFIED: no key was pinned"
    )
    if asked.json:
        said = {
            "ok": failure is None and asked.key is not None,
            "by": attested,
            "first_failure": failure,
            "lines": lines,
        }
        print(json.dumps({**said, "rows": bundle.rows if bundle else 0}))
    else:
        print("\n  ".join([heading, *lines]))
    return 1 if failure else 0 if asked.key else 3


if __name__ == "__main__":
    sys.exit(main())
