"""Keys for Spark's processes on this machine, over a Unix socket, each request under a grant.

Nothing that Spark shows or keeps (conf, plan, event log, spill, broadcast files) holds a key or what a key
could be had with: there stand only the socket's path and the grant's name. The guard is the kernel's: the
socket lies in a directory of mode 0700 and answers only processes of the same user (SO_PEERCRED). A grant
ends with the pass or read it was made for.

Protocol: a line of JSON each way. Asked ``{"grant", "want", …}``; answered ``{"key": base64}``, ``{}`` or
``{"fault": [code, message, remedy]}``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
import shutil
import socket
import socketserver
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from governance.errors import GovernanceError, ProtectionError, SettingError
from governance.keys.sealing import Secretive
from governance.model.dataset import Manifest
from governance.protect.encryption import SegmentKeyClient
from governance.protect.ports import SegmentKeys

_LONGEST = 1 << 16
_TIMEOUT_S = 60.0
_LONGEST_PATH = 108  # sun_path, unix(7)
_CREDENTIALS = struct.Struct("3i")


class Grant(Protocol):
    """Answers what one pass or read may ask."""

    def answer(self, asked: Mapping[str, Any]) -> bytes | None:
        """A key, or nothing to say. Raises whatever refuses."""


class SealGrant(Secretive):
    """Lets tasks make keys of new segments of one version, and get those and the hand-over's."""

    __slots__ = ("_issued", "_keys", "_prefix")

    def __init__(self, keys: SegmentKeys, prefix: str, handover_key: str) -> None:
        self._keys = keys
        self._prefix = prefix
        self._issued = {handover_key}

    def answer(self, asked: Mapping[str, Any]) -> bytes:
        if asked["want"] == "create":
            segment = str(asked["segment_id"])
            if not segment.startswith(self._prefix):
                raise _refused(f"a key for segment {segment}")
            key_id = self._keys.new_segment_key(segment, str(asked["sensitivity"]))
            self._issued.add(key_id)
        elif asked["want"] == "key":
            key_id = str(asked["key_id"])
        else:
            raise _refused("what a pass has no use for")
        if key_id not in self._issued:
            raise _refused(f"key {key_id}")
        return self._keys.segment_key(key_id)


class ReadGrant(Secretive):
    """Lets Spark's Parquet reader open the files of one version, as they were verified.

    The segment keys stay here: what is answered is the key that they wrap in one file's key material.

    Args:
        files: of each data file, by its path on the file system, its last bytes and the digest of its
            key material.
    """

    __slots__ = ("_client", "_files", "_key_ids")

    def __init__(self, keys: SegmentKeys, manifest: Manifest, files: Mapping[str, tuple[bytes, str]]) -> None:
        self._client = SegmentKeyClient(keys.segment_key)
        self._key_ids = {key_id for segment in manifest.segments for key_id in segment.key_ids.values()}
        self._files = dict(files)

    def answer(self, asked: Mapping[str, Any]) -> bytes | None:
        if asked["want"] == "open":
            path = str(asked["path"])
            expected = self._files.get(path)
            if expected is None:
                raise _refused("a file that the manifest does not list")
            if expected != (_decoded(asked["tail"]), asked["material"]):
                raise ProtectionError(
                    "GOV-308",
                    f"{path.rpartition('/')[2]} is not what was verified when the read began",
                    "read the version again: the manifest check then names what was altered",
                )
            return None
        key_id = str(asked["key_id"])
        if asked["want"] != "unwrap" or key_id not in self._key_ids:
            raise _refused(f"key {key_id}")
        return self._client.unwrap_key(str(asked["wrapped"]).encode(), key_id)


class GrantSocket:
    """Answers this machine's Spark processes for as long as the context lasts.

    Raises:
        SettingError: GOV-901 where the temporary directory's path is too long for a socket.
    """

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._directory = Path(tempfile.mkdtemp(prefix="governance-"))
        self.path = str(self._directory / "keys")
        if len(os.fsencode(self.path)) >= _LONGEST_PATH:
            self._directory.rmdir()
            raise SettingError(
                "GOV-901",
                f"the temporary directory's path is too long for a Unix socket: {self.path}",
                f"set TMPDIR to a directory whose path has fewer than {_LONGEST_PATH - 32} bytes",
            )
        self._server = _Server(self.path, _Handler, self._grants)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name="governance-grants",
            kwargs={"poll_interval": 0.1},
            daemon=True,
        )
        self._thread.start()

    def grant(self, grant: Grant) -> str:
        """Let ``grant`` be asked; returns its name, which is no secret."""
        name = secrets.token_hex(8)
        self._grants[name] = grant
        return name

    def end(self, name: str) -> None:
        """From here on nothing is answered under this name."""
        self._grants.pop(name, None)

    def close(self) -> None:
        """End every grant and the socket. Safe to call twice."""
        self._grants.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> GrantSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GrantedKeys(Secretive):
    """The keyring of a task: segment keys by way of the driver's socket.

    Raises:
        ProtectionError: GOV-310 when the grant ended or does not cover the key, GOV-311 when nobody answers;
            whatever the driver's keyring raises.
    """

    __slots__ = ("_grant", "_held", "_path")

    def __init__(self, path: str, grant: str) -> None:
        self._path = path
        self._grant = grant
        self._held: dict[str, bytes] = {}

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        key_id = f"seg.{segment_id}.{sensitivity}"
        self._held[key_id] = self._asked("create", segment_id=segment_id, sensitivity=sensitivity)
        return key_id

    def segment_key(self, key_id: str) -> bytes:
        if key_id not in self._held:
            self._held[key_id] = self._asked("key", key_id=key_id)
        return self._held[key_id]

    def _asked(self, want: str, **said: str) -> bytes:
        answer: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), _connected(self._path) as stream:
            stream.write(json.dumps({"grant": self._grant, "want": want, **said}).encode() + b"\n")
            stream.flush()
            answer = json.loads(stream.readline(_LONGEST))
        if fault := answer.get("fault"):
            code, message, remedy = fault
            raise ProtectionError(code, message, remedy)
        if "key" not in answer:
            raise ProtectionError(
                "GOV-311",
                "the process that began this pass on Spark does not answer for its keys",
                "run executors on that machine under the same user, or give them a key broker (GOVERNANCE_KEYS)",
            )
        return _decoded(answer["key"])


@contextlib.contextmanager
def _connected(path: str) -> Iterator[Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(path)
        with connection.makefile("rwb") as stream:
            yield stream


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: str, handler: type[_Handler], grants: dict[str, Grant]) -> None:
        self.grants = grants
        super().__init__(path, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the peer went away, and a traceback may show more than it should."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_S

    def handle(self) -> None:
        sent = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(sent)[1] != os.getuid():
            return
        answer = json.dumps(self._answer(self.rfile.readline(_LONGEST)))
        self.wfile.write(answer.encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        server: Any = self.server
        try:
            asked = json.loads(line)
            grant: Grant | None = server.grants.get(asked["grant"])
            if grant is None:
                raise _refused("a key under a grant that ended")
            key = grant.answer(asked)
        except GovernanceError as fault:
            return {"fault": [fault.code, fault.message, fault.remedy]}
        except Exception as fault:
            unknown = _refused(f"something that cannot be answered ({type(fault).__name__})")
            return {"fault": [unknown.code, unknown.message, unknown.remedy]}
        return {} if key is None else {"key": base64.b64encode(key).decode()}


def _refused(what: str) -> ProtectionError:
    return ProtectionError(
        "GOV-310",
        f"a process of Spark asked for {what}",
        "start the pass or the read again; a grant is good for one, and for what it has to do with",
    )


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _refused("something that is not base64") from None
