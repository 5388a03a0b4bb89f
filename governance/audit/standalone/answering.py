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
        older = Path(asked.checkpoint).read_text("utf-8") if asked.checkpoint else None
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
        shown = json.dumps({**said, "rows": bundle.rows if bundle else 0})
    else:
        shown = "\n  ".join([heading, *lines])
    sys.stdout.write(shown + "\n")
    return 1 if failure else 0 if asked.key else 3


if __name__ == "__main__":
    sys.exit(main())
