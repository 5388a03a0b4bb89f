"""Forms of reports that no browser sends: refused in words, never a fault."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_hostile_forms_are_refused_and_never_a_fault(client: TestClient) -> None:
    for content_type, body in (
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data", b"--x"),
        ("text/plain", b"PK"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="bundle"\r\n\r\n' + b"--x" * 9,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="bundle"; filename="../../x"\r\n\r\nPK',
        ),
    ):
        answer = client.post("/pages/reports/verify", content=body, headers={"content-type": content_type})
        assert answer.status_code == 400, (content_type, answer.status_code)
    for body in (
        b"",
        b"kind=%ff%00",
        b"kind=gdpr-art30&as_of=-1&reason=x",
        b"a=b&" * 100,
        "as_of=٣&kind=breach&reason=x".encode(),
    ):
        answer = client.post(
            "/pages/reports", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )
        # Here no home is served, so what is understood is not there.
        assert answer.status_code in (400, 404), (body[:30], answer.status_code)
    for path in (
        "/pages/reports/x",
        "/pages/reports/new",
        "/pages/reports/new?kind=x",
        "/pages/reports/changes?one=x",
    ):
        assert client.get(path).status_code in (400, 404), path
