"""Vertex AI's batch prediction: each part into the bucket by Google's storage client, and a job that reads it there.

The job is made over REST by Google's own authorized session: the packages of Vertex AI's client ask for older
versions of libraries than Airflow does. Credentials are Google's application default credentials. A record's id is
its request's label ``record``, which the answer repeats.
"""

from __future__ import annotations

from typing import Any

from governance.access.services.requests import missing, refused
from governance.model.policy import AiService

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 120


class VertexAi:
    def __init__(self, service: AiService) -> None:
        try:
            import google.auth
            from google.api_core.exceptions import GoogleAPIError
            from google.auth.exceptions import GoogleAuthError
            from google.auth.transport.requests import AuthorizedSession
            from google.cloud.storage import Client
            from requests import RequestException
        except ImportError:
            raise missing("vertex-ai", "google-cloud-storage", "vertex-ai") from None
        self._service = service
        self._faults = (GoogleAPIError, GoogleAuthError, RequestException)
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
        except GoogleAuthError as fault:
            raise refused("Vertex AI", type(fault).__name__) from None
        self._storage = Client(project=service.project, credentials=credentials)
        self._session = AuthorizedSession(credentials)
        host = service.endpoint or f"https://{service.region}-aiplatform.googleapis.com"
        self._jobs = f"{host}/v1/projects/{service.project}/locations/{service.region}/batchPredictionJobs"

    def send(self, name: str, data: bytes) -> str:
        place = f"{self._service.bucket}/{name}"
        bucket, _, key = place.removeprefix("gs://").partition("/")
        model = self._service.model
        job: dict[str, Any] = {
            "displayName": name.removesuffix(".jsonl"),
            "model": model if "/" in model else f"publishers/google/models/{model}",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [place]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": f"{self._service.bucket}/answers"},
            },
        }
        try:
            self._storage.bucket(bucket).blob(key).upload_from_string(
                data, "application/jsonl", timeout=_SECONDS
            )
            answer = self._session.post(self._jobs, json=job, timeout=_SECONDS)
            answer.raise_for_status()
            return str(answer.json()["name"])
        except self._faults as fault:
            raise refused("Vertex AI", type(fault).__name__) from None
        except (KeyError, TypeError, ValueError):
            raise refused("Vertex AI", "an answer without a job") from None


def record(instructed: bool) -> str:
    """A line of a job's file, as SQL over ``id``, ``text`` and, where asked, ``$instructions``."""
    told = "'systemInstruction': {'parts': [{'text': $instructions}]}, " if instructed else ""
    return (
        f"{{'request': {{{told}"
        "'contents': [{'role': 'user', 'parts': [{'text': text}]}], 'labels': {'record': id}}}"
    )


def open_endpoint(service: AiService) -> VertexAi:
    """Raises: AccessError GOV-608 where the client is not installed or no credentials are found."""
    return VertexAi(service)
