"""The register of requests on a real log, as an officer keeps it from the command line."""

from __future__ import annotations

import json

from governed_home import Home


def test_a_request_from_its_receipt_to_its_decision(home: Home) -> None:
    def said(*words: str) -> dict[str, object]:
        code, out, err = home.cli("request", *words, "--json")
        assert code == 0, err
        answer: dict[str, object] = json.loads(out)
        return answer

    said("open", "R-1", "--kind", "access", "--regime", "GDPR", "--domain", "patient")
    said("verify", "R-1", "--result", "verified", "--method", "portal login")
    said("extend", "R-1", "--reason", "many requests at once")
    said("decide", "R-1", "--decision", "granted", "--reason", "copy handed over", "--evidence", "log:0")
    shown = json.dumps(said("show", "R-1"))
    for word in ("portal login", "many requests at once", "granted", "copy handed over"):
        assert word in shown
    code, out, _ = home.cli("request", "list")
    assert code == 0
    assert "R-1" in out
    # The steps are leaves: they verify with the rest of the log.
    assert home.cli("log", "verify", "--key", home.workspace().vkey)[0] == 0


def test_what_the_register_refuses(home: Home) -> None:
    opened = ("request", "open", "R-1", "--regime", "GDPR", "--domain", "patient", "--kind")
    assert home.cli(*opened, "access")[0] == 0
    for words in (
        (*opened, "access"),
        ("request", "decide", "R-2", "--decision", "granted", "--reason", "none such"),
        ("request", "open", "R-3", "--kind", "telepathy", "--regime", "GDPR", "--domain", "patient"),
    ):
        code, _, err = home.cli(*words)
        assert code == 1
        assert "GOV-" in err


def test_nothing_of_disclosures_expires_before_its_time(released: Home) -> None:
    code, out, err = released.cli("subject", "expire")
    assert code == 0, out + err
