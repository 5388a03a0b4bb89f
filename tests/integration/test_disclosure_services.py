"""Rows sent to AI services: what the policy asks first, what goes over the wire, what the register keeps.

The providers' official clients speak to a stand-in of ours over HTTP, S3 is moto's server: no real service can run
here, and no provider has an emulator of these endpoints.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from before_and_after import CUSTOMERS
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from governed_home import Home, refused, shown_by

from governance.access import Disclosure, disclose
from governance.access.services import provider, requests
from governance.model.evidence import Stage
from governance.model.policy import AiService
from governance.pipeline.local import local_recorder

KINDS = ("azure-openai", "bedrock", "vertex-ai")
SERVICE = "model-provider"


class Standing(BaseHTTPRequestHandler):
    server: Services

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        self.server.asked.append((self.path, dict(self.headers), body))
        status, answer = self.server.answer(self.path.partition("?")[0])
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def log_message(self, *_: object) -> None:
        pass


class Services(ThreadingHTTPServer):
    """Azure OpenAI's files and batches, Bedrock's jobs, Google's tokens, Cloud Storage's uploads and Vertex's jobs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Standing)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.refusing = False
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/token":
            return 200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}
        if self.refusing:
            return 400, {"error": {"message": f"no: {self.asked[-1][2].decode(errors='replace')}"}}
        if path.endswith("/files"):
            file = {
                "id": "file-1",
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "f",
                "purpose": "batch",
            }
            return 200, {**file, "status": "processed"}
        if path.endswith("/batches"):
            return 200, {"id": "batch-1", "object": "batch", "endpoint": "/v1/chat/completions", "created_at": 1,
                         "completion_window": "24h", "input_file_id": "file-1", "status": "validating"}  # fmt: skip
        if path.endswith("/model-invocation-job"):
            return 200, {
                "jobArn": "arn:aws:bedrock:eu-central-1:123456789012:model-invocation-job/abcdefghijkl"
            }
        if path.endswith("/batchPredictionJobs"):
            return 200, {"name": "projects/clinic/locations/europe-west3/batchPredictionJobs/1"}
        return 200, {"name": "object", "bucket": "clinic-batches"}

    def bodies(self, ending: str) -> list[bytes]:
        return [body for path, _, body in self.asked if path.partition("?")[0].endswith(ending)]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    server = Services()
    pem = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = tmp_path / "account.json"
    said = {"type": "service_account", "client_email": "a@clinic", "token_uri": f"{server.url}/token"}
    account.write_text(json.dumps({**said, "private_key": pem.decode(), "project_id": "clinic"}))
    for name, value in {
        "AZURE_OPENAI_API_KEY": "test",
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "STORAGE_EMULATOR_HOST": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()


def with_service(home: Home, kind: str, url: str, **changed: Any) -> Home:
    """The policy lets a provider of models have two columns."""
    own: dict[str, Any] = {
        "azure-openai": {"region": "swedencentral", "model": "gpt-batch"},
        "bedrock": {"region": "eu-central-1", "model": "amazon.nova-lite-v1:0", "bucket": "s3://northlake-inbox/nova",
                    "role": "arn:aws:iam::123456789012:role/bedrock-batch"},
        "vertex-ai": {"region": "europe-west3", "model": "gemini-flash", "bucket": "gs://clinic-batches/in",
                      "project": "clinic"},
    }[kind]  # fmt: skip
    recipient = {
        "title": "Provider of models",
        "address": "1 Street, City",
        "country": "DE",
        "purposes": ["model_training"],
        "columns": {CUSTOMERS: ["customer_pseudonym", "country"]},
        "service": {"kind": kind, "endpoint": url, "instructions": "Say which continent", **own},
    }
    policy = home.path / "policy.yaml"
    text = policy.read_text()
    assert "recipients:\n" in text
    entry = f"  {SERVICE}: {json.dumps({**recipient, **changed})}\n"
    policy.write_text(text.replace("recipients:\n", f"recipients:\n{entry}"))
    return home


def sent(home: Home, **where: Any) -> Disclosure:
    workspace = home.workspace()
    return disclose(workspace, local_recorder(workspace, CUSTOMERS, "d"), dataset=CUSTOMERS, recipient=SERVICE,
                    purpose="model_training", description="Countries, to be told their continent", **where)  # fmt: skip


def the_file(kind: str, services: Services, bucket: Any, done: Disclosure) -> bytes:
    """The JSON lines as the provider received them."""
    name = f"{done.facts['disclosure_id']}-00000.jsonl"
    if kind == "bedrock":
        job = json.loads(services.bodies("/model-invocation-job")[-1])
        assert job["modelId"] == "amazon.nova-lite-v1:0"
        place = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        assert place == f"s3://northlake-inbox/nova/{name}"
        return bytes(bucket.get_object(Bucket="northlake-inbox", Key=f"nova/{name}")["Body"].read())
    if kind == "azure-openai":
        path, headers, body = next(a for a in services.asked if a[0].endswith("/files"))
        assert path == "/openai/v1/files"
        assert json.loads(services.bodies("/batches")[-1])["input_file_id"] == "file-1"
        assert {k.lower(): v for k, v in headers.items()}["authorization"] == "Bearer test"
    else:
        job = json.loads(services.bodies("/batchPredictionJobs")[-1])
        assert job["inputConfig"]["gcsSource"]["uris"] == [f"gs://clinic-batches/in/{name}"]
        assert job["model"] == "publishers/google/models/gemini-flash"
        path, headers, body = next(a for a in services.asked if a[0].startswith("/upload/"))
        assert "/b/clinic-batches/" in path
    kind_of = next(v for k, v in headers.items() if k.lower() == "content-type")
    parts = BytesParser().parsebytes(b"Content-Type: " + kind_of.encode() + b"\r\n\r\n" + body)
    payloads = [
        p.get_payload(decode=True) for p in parts.get_payload() if isinstance(parts.get_payload(), list)
    ]
    return bytes(next(p for p in payloads if p.startswith((b'{"custom_id"', b'{"request":{"'))))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_go_to_the_service_and_the_register_says_what_went(
    released: Home, services: Services, bucket: Any, kind: str
) -> None:
    done = sent(with_service(released, kind, services.url))
    data = the_file(kind, services, bucket, done)
    (part,) = done.facts["destination"]["requests"]
    assert part["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    lines = [json.loads(line) for line in data.splitlines()]
    assert part["records"] == len(lines) == done.facts["rows"] > 0
    assert done.facts["columns"] == ["customer_pseudonym", "country"]
    texts = {"azure-openai": lambda r: r["body"]["messages"][-1]["content"],
             "bedrock": lambda r: r["modelInput"]["messages"][0]["content"][0]["text"],
             "vertex-ai": lambda r: r["request"]["contents"][0]["parts"][0]["text"]}  # fmt: skip
    ids = {"azure-openai": lambda r: r["custom_id"], "bedrock": lambda r: r["recordId"],
           "vertex-ai": lambda r: r["request"]["labels"]["record"]}  # fmt: skip
    assert all(re.fullmatch("[A-Z]{2}", texts[kind](line)) for line in lines)
    assert all(re.fullmatch("[0-9]{12}x[0-9a-f]{32}", ids[kind](line)) for line in lines)
    assert len(done.jobs) == 1
    assert (
        done.directory == f"{kind}:{done.facts['destination']['region']}/{done.facts['destination']['model']}"
    )
    (evidence,) = released.evidence(Stage.DISCLOSE, CUSTOMERS)
    assert evidence["facts"]["destination"] == done.facts["destination"]
    # Nothing of it lies here in the clear, or waits.
    assert not list(released.path.rglob("*.partial"))
    assert not list(released.path.rglob("*.jsonl"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_refuses_is_told_without_its_words(
    released: Home, services: Services, bucket: Any, kind: str
) -> None:
    services.refusing = True
    with_service(released, kind, services.url)
    workspace = released.workspace()
    with refused("GOV-608") as fault:
        disclose(workspace, local_recorder(workspace, CUSTOMERS, "d"), dataset=CUSTOMERS, recipient=SERVICE,
                 purpose="model_training", description="d")  # fmt: skip
    assert "no:" not in shown_by(fault[0])
    # The register says more left than did, never less.
    assert len(released.evidence(Stage.DISCLOSE, CUSTOMERS)) == 1
    assert not list(released.path.rglob("*.partial"))


def test_nothing_is_asked_of_a_service_before_the_policy_was(
    released: Home, services: Services, tmp_path: Path
) -> None:
    with_service(released, "azure-openai", services.url)
    size = released.workspace().log.size()
    for wrong in (
        {"directory": tmp_path / "out"},
        {"destination": "s3://northlake-inbox/x"},
        {"columns": ["age_band"]},
    ):
        with refused("GOV-602"):
            sent(released, **wrong)
    workspace = released.workspace()
    with refused("GOV-602"):
        disclose(workspace, local_recorder(workspace, CUSTOMERS, "d"), dataset=CUSTOMERS, recipient=SERVICE,
                 purpose="fraud_detection", description="d")  # fmt: skip
    assert (services.asked, released.workspace().log.size()) == ([], size)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("azure-openai", {"columns": None}),
        ("azure-openai", {"service": {"kind": "azure-openai", "region": "westeurope", "model": "m"}}),
        ("azure-openai", {"service": {"kind": "azure-openai", "region": "r1", "model": "m", "endpoint": "http://x.org"}}),
        ("bedrock", {"service": {"kind": "bedrock", "region": "eu-central-1", "model": "m", "bucket": "gs://abc/d",
                                 "role": "arn:aws:iam::123456789012:role/r"}}),
        ("vertex-ai", {"country": "US"}),
    ],
)  # fmt: skip
def test_a_policy_that_leaves_a_service_open_is_refused(
    released: Home, kind: str, changed: dict[str, Any]
) -> None:
    with_service(released, kind, "https://contoso.openai.azure.com", **changed)
    policy = released.path / "policy.yaml"
    policy.write_text(policy.read_text().replace('"columns": null, ', ""))
    with refused("GOV-106"):
        _ = released.workspace().policy


def test_a_batch_is_cut_where_a_part_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    service = AiService("bedrock", "eu-central-1", "m")
    record = provider("bedrock").record(False)
    batches = [
        pa.RecordBatch.from_pydict({"who": ["ab", "cd"], "a": ['é\n"', None], "b": [1, 2]}),
        pa.RecordBatch.from_pydict(
            {"who": ["ef"] * 9, "a": ["x" * 40 * n for n in range(9)], "b": list(range(9))}
        ),
    ]
    whole = list(requests.parts(batches, record, service, ["who"]))
    assert [part.records for part in whole] == [11]
    lines = [json.loads(line) for line in whole[0].data.splitlines()]
    assert lines[0]["recordId"] == "000000000000xab"
    said = [json.loads(line["modelInput"]["messages"][0]["content"][0]["text"]) for line in lines]
    assert said[:2] == [{"a": 'é\n"', "b": 1}, {"a": None, "b": 2}]
    for limit, size in (("PART_RECORDS", 4), ("PART_BYTES", 500), ("PART_BYTES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(requests, limit, size)
            cut = list(requests.parts(batches, record, service, ["who"]))
        assert b"".join(part.data for part in cut) == whole[0].data
        assert all(part.records == part.data.count(b"\n") for part in cut)
        allowed = [
            p.records <= 4 if limit == "PART_RECORDS" else len(p.data) <= size or p.records == 1 for p in cut
        ]
        assert all(allowed)
    # Rows that have nothing to say are no request.
    alone = pa.RecordBatch.from_pydict({"a": ["x", None, "y"]})
    (part,) = requests.parts([alone], record, service, [])
    assert [json.loads(line)["recordId"] for line in part.data.splitlines()] == [
        "000000000000",
        "000000000002",
    ]
