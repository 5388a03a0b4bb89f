"""The way off the suppression list: somebody who was erased asks to be a customer again.

They come back as a stranger: a new pseudonym, a new secret and no consent on record. What was erased stays so, and
nothing links them to it.
"""

from __future__ import annotations

import re

import pyarrow as pa

from governance.errors import AccessError
from governance.keys.vault.identifiers import distinct
from governance.log import NewEntry
from governance.model.canonical import canonical, timestamp
from governance.model.signed_leaf import signed_leaf
from governance.model.statements import READMITTED
from governance.pipeline.tombstones import erasing, kept_requests
from governance.pipeline.workspace import PIPELINE, Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def readmit(
    workspace: Workspace,
    *,
    request: str,
    domain: str,
    identifiers: pa.Array,
    by: str,
    reason: str,
    entered_by: str,
) -> int:
    """Take identifiers off a domain's suppression list, all or none; returns the log index of the leaf that says so.

    The leaf comes first: killed before the vault is sealed anew, they are still denied and the act is repeated, under a
    second leaf. An older vault that is put back denies them again.

    Args:
        request: the name under which their wish is filed; no personal data.
        by: who decided, one of the policy's approvers.
        reason: their words; no personal data.
        entered_by: the account that entered it.

    Raises:
        AccessError: GOV-605 when ``by`` may not decide it, the name is malformed or there is no reason, an identifier is not on
            the list, an erasure of it is not finished, or a legal hold still keeps its rows.
        ProtectionError: GOV-304, GOV-307. LogError: GOV-50x.
    """
    if not _NAME.fullmatch(request) or not reason.strip():
        raise _refused(
            "a readmission needs a reason, and a name of 1 to 64 letters, digits, _ and -",
            "give it the number under which their wish is filed, without personal data",
        )
    if by not in workspace.policy.approvers:
        raise _refused(
            f"{by} is not among the policy's approvers", "have one of the policy's `approvers` decide it"
        )
    vault, keyring, home = workspace.vault, workspace.keyring, workspace.settings.home
    with erasing(home):
        named = distinct(identifiers)[1]
        if not len(named) or not vault.suppressed(domain, named).all():
            raise _refused(
                f"not every identifier is on the suppression list of {domain}",
                "name only erased ones; an identifier that is not on the list needs no readmission",
            )
        marks = vault.suppression_marks(domain, named)
        own = {mark.tobytes() for mark in marks}
        for kept in kept_requests(home, keyring):
            if kept.domain == domain and own & {mark.tobytes() for mark in kept.marks}:
                raise _refused(
                    f"the erasure of request {kept.request} is not finished",
                    "finish it first: `governance erase --finish`",
                )
        known = vault.resolve(domain, named, create=False)
        if set(known[known >= 0].tolist()) & set(vault.restricted(domain).tolist()):
            raise _refused(
                "a legal hold still keeps rows of somebody named, under their former pseudonym",
                "wait until it has ended and the rest was erased",
            )
        said = {
            "v": 1,
            "request": request,
            "domain": domain,
            "subjects": len(named),
            "by": by,
            "entered_by": entered_by,
            "reason": reason,
            "decided_at": timestamp(workspace.clock()),
        }
        body = canonical(signed_leaf(said, READMITTED, keyring.evidence_signer))
        index = workspace.log.append([NewEntry(body, READMITTED, PIPELINE)])[0]
        vault.reseal(readmitted={domain: marks})
        workspace.log.checkpoint()
    return index


def _refused(message: str, remedy: str) -> AccessError:
    return AccessError("GOV-605", message, remedy)
