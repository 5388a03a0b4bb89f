"""Who asks the key broker: a workload by its platform's token, or by a token of this server that Airflow backs.

*Isolated*: a JSON Web Token (RFC 7519) that the platform signs for the pod, such as a projected Kubernetes
service account's, verified offline against pinned keys. *Cooperative*: a bearer token of the server with the
scope ``keys``; then Airflow must confirm the try, which refuses mistakes and not hostile code.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jwt

from governance.errors import AccessError, LogError
from governance.model.policy import Policy
from governance.server.broker.rules import Asker
from governance.server.broker.settings import IdentitySettings
from governance.server.tokens import TokenBook

ISOLATED = "isolated"
COOPERATIVE = "cooperative"

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""Signatures by a private key only: a shared secret would let whoever verifies also make tokens."""

_LEEWAY_S = 30
_LONGEST_TOKEN = 16 << 10
_FETCH_S = 5


class Identities:
    """Tells callers by their tokens. Safe to share between threads.

    Args:
        settings: issuer, audience and keys of the platform's tokens; None takes none.
        tokens: the server's own.
    """

    def __init__(self, settings: IdentitySettings | None, tokens: TokenBook) -> None:
        self._settings = settings
        self._tokens = tokens
        self._remote = (
            jwt.PyJWKClient(settings.keys, timeout=_FETCH_S)
            if settings is not None and settings.keys.startswith("https://")
            else None
        )
        self._pinned: tuple[tuple[int, int, int], jwt.PyJWKSet] | None = None
        self._reading = threading.Lock()

    def of(self, token: str, policy: Policy) -> Asker:
        """The caller that a bearer token names.

        Raises:
            AccessError: GOV-610 when it is no valid token, GOV-611 when it lacks the scope ``keys``.
            LogError: GOV-510 when the platform's keys cannot be had now.
        """
        caller = self._tokens.caller(token)
        if caller is not None:
            if "keys" not in caller.scopes:
                raise AccessError(
                    "GOV-611",
                    "the token has no scope keys",
                    "use a token with that scope; `governance token create --scopes keys --name WORKLOAD` makes one",
                )
            known = caller.name if caller.name in policy.workloads else None
            return Asker(known, COOPERATIVE, {"token_id": caller.token_id})
        claims = self._verified(token)
        subject = claims["sub"]
        names = [w.name for w in policy.workloads.values() if subject in w.subjects]
        return Asker(names[0] if names else None, ISOLATED, {"issuer": claims["iss"], "subject": subject})

    def _verified(self, token: str) -> dict[str, Any]:
        settings = self._settings
        if settings is None or token.count(".") != 2 or len(token) > _LONGEST_TOKEN:
            raise _nobody()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(token),
                algorithms=list(ALGORITHMS),
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError:
            raise LogError(
                "GOV-510",
                "the platform's keys cannot be fetched, so no workload can be told",
                "check `identity.keys` of the broker's settings and that the platform answers",
            ) from None
        except (jwt.PyJWTError, LookupError, ValueError, TypeError, RecursionError):
            # Which of it was wrong is no caller's business.
            raise _nobody() from None
        if not claims["sub"] or len(claims["sub"]) > 253 or not claims["sub"].isprintable():
            raise _nobody()
        return claims

    def _key(self, token: str) -> jwt.PyJWK:
        if self._remote is not None:
            return self._remote.get_signing_key_from_jwt(token)
        keys = self._from_file()
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None and len(keys.keys) == 1:
            return keys.keys[0]
        return keys[str(kid)]

    def _from_file(self) -> jwt.PyJWKSet:
        assert self._settings is not None  # noqa: S101 - narrows the type: who has none was refused
        path = Path(self._settings.keys)
        with self._reading:
            try:
                seen = path.stat()
                stamp = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
                if self._pinned is None or self._pinned[0] != stamp:
                    self._pinned = (stamp, jwt.PyJWKSet.from_json(path.read_text("utf-8")))
            except (OSError, ValueError, jwt.PyJWTError):
                raise LogError(
                    "GOV-510",
                    "the platform's keys cannot be read, so no workload can be told",
                    "put a JSON Web Key Set into the file that `identity.keys` of the broker's settings names",
                ) from None
            return self._pinned[1]


def _nobody() -> AccessError:
    return AccessError(
        "GOV-610",
        "no valid workload token came with the request",
        "send Authorization: Bearer TOKEN with the platform's token for this broker's audience",
    )
