"""The end of the verifier: its arguments, what it prints and its exit code. Bundles carry it after ``checking``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from governance.audit.standalone.checking import (
    Bundle,
)
from governance.audit.standalone.proving import (
    Failed,
    read_key,
)
from governance.audit.standalone.signing_off import (
    SignOff,
)

CANNOT = (
    "Not computed again here: the words of the rows, which rest on the operator's signature; `governance verify` does it.",
    "Cannot be known from a bundle: whether entries that matter were never logged, counts over the whole log, whether "
    "what was recorded is true, and whether other copies exist.",
)


def main(arguments: list[str] | None = None) -> int:
    """Check a bundle, sign-offs of it, or one alone; the exit code."""
    parser = argparse.ArgumentParser(prog="verify.py", description="Checks a report bundle offline.")
    parser.add_argument("bundle", help="a bundle, or a sign-off alone")
    parser.add_argument("--sign-off", action="append", default=[], help="a sign-off of it; repeatable")
    parser.add_argument("--key", help="the log's public key, from somewhere other than the bundle")
    parser.add_argument("--checkpoint", help="file with an older checkpoint that the log must extend")
    parser.add_argument("--witness", action="append", default=[], help="a witness's public key; repeatable")
    parser.add_argument("--needed", type=int, help="cosignatures needed; default: of every --witness")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        for text, kind in [(asked.key, 1)] * bool(asked.key) + [(w, 4) for w in asked.witness]:
            read_key(text, kind)
        older = Path(asked.checkpoint).read_text("utf-8") if asked.checkpoint else None
    except (ValueError, OSError):
        parser.error("a key or the older checkpoint cannot be read")
    failure: str | None = None
    parts: list[Bundle] = []
    needed = max(len(asked.witness) if asked.needed is None else asked.needed, 1)
    trusted = (asked.key and asked.key.strip(), asked.witness, needed)
    alone = [asked.bundle] if asked.bundle.endswith(".json") else []
    record = None
    try:
        if not alone:
            bundle = Bundle(asked.bundle)
            parts.append(bundle)
            bundle.check(trusted[0], older, *trusted[1:])
            record = bundle.files["record.json"]
        for path in [*alone, *asked.sign_off]:
            reviewed = SignOff(path)
            parts.append(reviewed)
            reviewed.check_of(record, *trusted)
    except Failed as fault:
        failure = str(fault)
    # Who vouches for all of it.
    by = [name for name in (parts[0].by if parts else []) if all(name in part.by for part in parts)]
    lines = [*(line for part in parts for line in part.lines), *CANNOT]
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
        shown = json.dumps({**said, "rows": sum(part.rows for part in parts)})
    else:
        shown = "\n  ".join([heading, *lines])
    sys.stdout.write(shown + "\n")
    return 1 if failure else 0 if asked.key else 3


if __name__ == "__main__":
    sys.exit(main())
