"""The middle of the verifier: reads a bundle and finds what does not hold. Bundles carry it joined to ``proving``."""

from __future__ import annotations

import hashlib
import re
import zipfile
from typing import Any

from governance.audit.standalone.proving import (
    Failed,
    b64,
    canonical,
    cosigned,
    extends,
    fail,
    included,
    need,
    opened,
    parsed,
    read_key,
    rotation,
    signed_by,
)

MAX_BYTES, MAX_MEMBERS = 1 << 29, 60_000
MANIFEST_TYPE = b"application/vnd.governance.bundle-manifest+json"
ROOT_SIGNED = ("open", "disclose", "erasure", "key_grant", "sign_off")
NEEDED = ("record.json", "checkpoint.txt", "key.txt", "proofs.json", "manifest.json", "signature.json")
NAME = re.compile(r"(?:[A-Za-z0-9-]+/)?[A-Za-z0-9-]+\.[a-z]+")

# -- the bundle ---------------------------------------------------------------------------------------


class Bundle:
    """One run over a bundle. ``lines`` grow as it gets on."""

    def __init__(self, path: str) -> None:
        self.lines: list[str] = []
        self.rows = 0
        self.by: list[str] = []
        self.files = self._read(path)
        self.entries: dict[int, tuple[dict[str, Any] | None, bytes, bytes | None]] = {}
        self.withheld: set[int] = set()
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
        keys, sizes, root_key = self._log(key, witnesses, needed)
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

    def _log(self, key: str | None, witnesses: list[str], needed: int) -> tuple[list[Any], list[int], bytes]:
        """From the pinned key to every entry; the log's keys, where they change, and the evidence key."""
        keys, sizes, heads = self._at("rotations.json", self._keys, key)
        self.head, by = self._at("checkpoint.txt", opened, self._text("checkpoint.txt"), keys)
        origin, size, _ = self.head
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
            f"{len(self.entries):,} entries: body, where it is given, leaf and proof lead to the checkpoint's root hash."
        )
        return keys, sizes, self._at("entries/0.json", self._genesis, keys[0])

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
        try:
            return self.files[name].decode("utf-8")
        except UnicodeDecodeError:
            raise Failed(f"{name}: is not UTF-8") from None

    def _keys(self, pinned: str | None) -> tuple[list[Any], list[int], list[tuple[str, int, bytes]]]:
        """The keys from the pinned one on, in order, the sizes at which one follows the other, and those trees."""
        named = self._text("key.txt").strip()
        found = [rotation(h) for h in parsed(self.files.get("rotations.json", b"[]"))]
        chain = [named]
        sizes: list[int] = []
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
        index = said["index"]
        if name != f"entries/{index}.json" or type(index) is not int:
            raise ValueError("it is another entry than its name says")
        envelope, body = None, None
        if set(said) == {"index", "leaf_hash"}:
            leaf_hash = b64(said["leaf_hash"])  # the sender, whom the leaf names, is withheld
        else:
            need(set(said) == {"index", "leaf", "body", "salt"}, name, "is not of the form entries have")
            leaf = b64(said["leaf"])
            leaf_hash, envelope = hashlib.sha256(b"\x00" + leaf).digest(), parsed(leaf)
            body = None if said["body"] is None else b64(said["body"])
        if envelope is not None and body is not None:
            covered = hashlib.sha256(b64(said["salt"]) + body).hexdigest()
            if envelope["digest"] != f"sha256:{covered}" or envelope["size"] != len(body):
                raise ValueError("its body is not the one its leaf commits to")
        if index not in self.proofs[0]:
            raise ValueError("proofs.json has no proof of it")
        size, path = self.proofs[0][index]
        if size != self.head[1] or not included(leaf_hash, index, size, path, self.head[2]):
            raise ValueError("it is not under the root of the checkpoint")
        self.entries[index] = (envelope, leaf_hash, body)

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
        said = parsed(self.files["manifest.json"])
        need(said["format"] == "governance-bundle/1", "manifest.json", "is of a format not known here")
        listed = said["files"]
        have = {n: "sha256:" + hashlib.sha256(d).hexdigest() for n, d in self.files.items()}
        for name in sorted({*listed, *have} - {"manifest.json", "signature.json"}):
            need(listed.get(name) == have.get(name), name, "is not the file that was signed for")

    def _evidence(self, root_key: bytes) -> None:
        """Which entries are evidence: signed by the evidence key, or by the key that a run's opening introduced."""
        run_keys: dict[bytes, bytes] = {}
        for index in sorted(self.entries):
            envelope, _, body = self.entries[index]
            if body is None or envelope is None or not envelope["principal"].startswith("evidence:"):
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
            self._described(said, "audience" in record)
        self._cells(record)
        for kind in ("exceptions", "unknowns"):
            need(
                record["verdict"][kind] == len(record[kind]),
                "record.json",
                f"counts other {kind} than it lists",
            )
            for number, item in enumerate(record[kind], 1):
                self._cites(item["cites"], f"{kind[:-1]} {number} ({item['code']})")

    def _described(self, said: dict[str, Any], narrowed: bool) -> None:
        """Only for an audience may a body be withheld, or a sender be told by role or by no leaf at all."""
        envelope, leaf_hash, body = self.entries[said["index"]]
        without = ("redacted", "withheld") if narrowed else ("redacted",)
        fits = said["leaf_hash"] == leaf_hash.hex() and (
            said["body"] in without if body is None else said["body"] == "present"
        )
        if envelope is None:
            fits = fits and narrowed
        else:
            principals = {envelope["principal"], *([envelope["principal"].partition(":")[0]] * narrowed)}
            fits = fits and said["principal"] in principals
            fits = fits and all(said[name] == envelope[name] for name in ("media_type", "received_at"))
        need(fits, "record.json", f"entry {said['index']} is described as another than it is")
        if said["body"] == "withheld":
            self.withheld.add(said["index"])

    def _cells(self, record: dict[str, Any]) -> None:
        bases = dict.fromkeys(("observed", "declared", "conflicting", "unknown"), 0)
        signed, declared = 0, {}  # type: ignore[var-annotated]
        unseen = 0
        for number, row in enumerate(record["rows"], 1):
            for key, cell in row["cells"].items():
                where = f"row {number} ({row['title']}), {key}"
                self._cites(cell["cites"], where)
                # What was asked is declared and cites nothing; what is seen must rest on something.
                if cell["basis"] in ("observed", "conflicting"):
                    need(cell["cites"], "record.json", f"{where} is {cell['basis']} and cites no entry")
                bases[cell["basis"]] += 1
                unseen += not self.withheld.isdisjoint(cell["cites"])
                signed += cell["basis"] == "observed" and any(i in self.evidence for i in cell["cites"])
                if cell["basis"] == "declared":
                    declared[key] = declared.get(key, 0) + 1
            self.rows = number
        need(bases == record["verdict"]["cells"], "record.json", "counts other cells than it has")
        need(self.rows == record["verdict"]["rows"], "record.json", "counts other rows than it has")
        if "audience" in record:
            said = record["audience"]
            need(said["withheld"] == len(self.withheld), "record.json", "withholds other bodies than it says")
            self.lines.append(
                f"Made for the audience {said['name']}: {len(self.withheld):,} of {len(self.entries):,} bodies are"
                f" withheld; {unseen:,} cells rest on them (body withheld for this audience)."
            )
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
