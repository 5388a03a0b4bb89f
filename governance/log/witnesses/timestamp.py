"""Timestamps by an outside authority (RFC 3161) over a checkpoint's text: that tree existed by then.

A token is a leaf of its own, which names the checkpoint it is about. So it is kept and exported wherever
the log is, on every storage, and a token that was taken away later is missed. It is verified offline against
the certificates that the verifier pinned; the certificates in the token are not trusted for that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from governance.errors import LogError, SettingError
from governance.log.log import TIMESTAMP, Log, NewEntry
from governance.log.note import Checkpoint, read_checkpoint
from governance.model.canonical import canonical

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_MEMBERS = frozenset({"v", "checkpoint", "response"})
_REMEDY = "Rely on it only after the authority's certificate was pinned from elsewhere; else ask for another."


@dataclass(frozen=True, slots=True)
class Authority:
    """A timestamp authority: where to ask, and the PEM certificates that its tokens must lead to."""

    url: str
    certificates: bytes


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A token as its leaf holds it: the signed note it is about, the DER TimeStampResp about its text."""

    note: str
    response: bytes

    def to_body(self) -> bytes:
        """The body of the leaf."""
        response = base64.b64encode(self.response).decode()
        return canonical({"v": 1, "checkpoint": self.note, "response": response})

    @classmethod
    def from_body(cls, body: bytes) -> Timestamp:
        """The inverse of :meth:`to_body`. Raises GOV-513 when it is malformed."""
        try:
            said = json.loads(body)
            if said.keys() != _MEMBERS or said["v"] != 1:
                raise ValueError
            read_checkpoint(said["checkpoint"])
            return cls(said["checkpoint"], base64.b64decode(said["response"], validate=True))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, LogError):
            raise _invalid("a timestamp's leaf is malformed") from None

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint it is about; its signature is not verified here."""
        return read_checkpoint(self.note)


@dataclass(frozen=True, slots=True)
class Attested:
    """That the pinned ``authority`` (its certificate's subject) saw a checkpoint ``at``, aware, in UTC."""

    checkpoint: Checkpoint
    at: datetime
    authority: str


def ask(checkpoint: Checkpoint, authority: Authority, timeout: float) -> Timestamp:
    """Have a checkpoint timestamped; the answer is verified before it is returned.

    Raises:
        LogError: GOV-513 when the authority gives none in ``timeout`` seconds or one that does not hold.
        SettingError: GOV-902 when rfc3161-client is not installed.
    """
    # Importing TLS takes longer than all the rest, and verifying needs none.
    from governance.log.witnesses.post import Unreachable, post

    library = _library()
    builder = library.TimestampRequestBuilder().data(checkpoint.text.encode())
    builder = builder.hash_algorithm(library.HashAlgorithm.SHA256)
    query = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    try:
        answer = post(authority.url, query.as_bytes(), "application/timestamp-query", timeout)
    except Unreachable as fault:
        raise _unanswered(str(fault)) from None
    if answer.status != 200 or answer.content_type != "application/timestamp-reply":
        raise _unanswered(f"it answered {answer.status} with {answer.content_type}")
    given = Timestamp(checkpoint.note, answer.body)
    _verified(given, authority.certificates, query.nonce)
    return given


def keep(log: Log, given: Timestamp, principal: str) -> int:
    """Append a token and return its index."""
    return log.append([NewEntry(given.to_body(), TIMESTAMP, principal)])[0]


def verify(given: Timestamp, certificates: bytes) -> Attested:
    """Check a token offline.

    Args:
        certificates: PEM: the authority's root, with the intermediates that the token lacks, and, to pin
            that one too, the certificate that signs its tokens.

    Raises:
        LogError: GOV-513 when it is of another text, not by that authority, or the PEM holds no root.
        SettingError: GOV-902 when rfc3161-client is not installed.
    """
    return _verified(given, certificates, None)


def attested(bodies: Sequence[bytes], authorities: Sequence[bytes]) -> tuple[list[Attested], list[str]]:
    """Which timestamp leaves hold under one of the pinned ``authorities`` (PEM); why others do not."""
    good: list[Attested] = []
    bad: list[str] = []
    for body in bodies:
        why = ""
        for certificates in authorities:
            try:
                good.append(verify(Timestamp.from_body(body), certificates))
                break
            except LogError as fault:
                why = fault.message
        else:
            bad.append(why)
    return good, bad


def _verified(given: Timestamp, certificates: bytes, nonce: int | None) -> Attested:
    library = _library()
    roots, intermediates, signer = _sorted(certificates)
    verifier = library.VerifierBuilder(
        roots=roots, intermediates=intermediates, tsa_certificate=signer, nonce=nonce
    ).build()
    checkpoint = given.checkpoint
    try:
        response = library.decode_timestamp_response(given.response)
        verifier.verify_message(response, checkpoint.text.encode())
        at: datetime = response.tst_info.gen_time
        subject = _signer_of(response)
    except (ValueError, library.VerificationError) as fault:
        # The library's texts quote OpenSSL, never what was timestamped.
        reason = str(fault).split(":")[0].strip().lower() or type(fault).__name__
        raise _invalid(
            f"a timestamp over the checkpoint of size {checkpoint.size} does not hold: {reason}"
        ) from None
    return Attested(checkpoint, at, subject)


def _signer_of(response: Any) -> str:
    from cryptography import x509

    [info] = response.signed_data.signer_infos
    for der in response.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) == (info.issuer, info.serial_number):
            return certificate.subject.rfc4514_string()
    raise ValueError("no certificate of its signer")


def _sorted(pem: bytes) -> tuple[list[Certificate], list[Certificate], Certificate | None]:
    """Roots, intermediates and the signing certificate of a PEM file."""
    from cryptography import x509

    roots, intermediates, signers = [], [], []
    try:
        for certificate in x509.load_pem_x509_certificates(pem):
            if certificate.issuer == certificate.subject:
                roots.append(certificate)
            elif _stamps(certificate):
                signers.append(certificate)
            else:
                intermediates.append(certificate)
    except ValueError:
        roots = []
    if not roots or len(signers) > 1:
        raise LogError(
            "GOV-513",
            "the pinned certificates are no PEM with a self-signed root and at most one that signs timestamps",
            "Take the authority's root certificate from where it publishes it.",
        )
    return roots, intermediates, signers[0] if signers else None


def _stamps(certificate: Certificate) -> bool:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in usage


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError:
        raise SettingError(
            "GOV-902",
            "timestamps need the package rfc3161-client",
            "pip install 'airflow-governance[timestamps]'",
        ) from None
    return rfc3161_client


def _unanswered(why: str) -> LogError:
    return LogError(
        "GOV-513",
        f"the timestamp authority gave no token: {why}",
        "Try again later; the log goes on without. Check the URL under `timestamps` in witnesses.yaml.",
    )


def _invalid(what: str) -> LogError:
    return LogError("GOV-513", what, _REMEDY)
