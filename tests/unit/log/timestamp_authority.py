"""A timestamp authority of its own: `openssl ts` behind a loopback HTTP server, with its own test CA."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name=dn
[dn]
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[tsa]
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
[ts]
serial=serial
signer_digest=sha256
default_policy=1.2.3.4.1
digests=sha256
accuracy=secs:1
ordering=no
tsa_name=no
ess_cert_id_chain=no
ess_cert_id_alg=sha256
"""


class TimestampAuthority:
    """Its files lie in ``folder``; ``root`` is the PEM that verifiers pin, ``certificate`` its own."""

    def __init__(self, folder: Path, name: str = "Test TSA") -> None:
        folder.mkdir()
        self.folder = folder
        self.name = name
        (folder / "ca.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01")
        self._openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3 -extensions ca",
            "-config",
            "ca.cnf",
            "-subj",
            f"/CN={name} CA",
        )
        self.certify()
        self.root = (folder / "ca.pem").read_bytes()
        self.change: Callable[[bytes], bytes] = lambda answer: answer

    @property
    def certificate(self) -> bytes:
        return (self.folder / "tsa.pem").read_bytes()

    def certify(self) -> None:
        """Make a new signing certificate."""
        self._openssl(
            "req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -config ca.cnf",
            "-subj",
            f"/CN={self.name}",
        )
        self._openssl(
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 3",
            *("-extfile", "ca.cnf", "-extensions", "tsa"),
        )

    def answer(self, query: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(query)
        self._openssl(
            "ts -reply -queryfile query.tsq -inkey tsa.key -signer tsa.pem -config ca.cnf -section ts",
            "-out",
            "reply.tsr",
        )
        return self.change((self.folder / "reply.tsr").read_bytes())

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its URL."""
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/timestamp-query"
                body = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/tsr"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _openssl(self, words: str, *more: str) -> None:
        done = subprocess.run(
            ["openssl", *words.split(), *more], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
