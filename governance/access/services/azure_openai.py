"""Azure OpenAI's batches, by the official client: a file for each part, and a batch of it.

The resource's endpoint is asked under ``/openai/v1/``, with the key in ``AZURE_OPENAI_API_KEY`` or else as whom
``azure-identity`` finds. A *global* batch deployment is answered in any region of Azure's: only a deployment of a
data zone or a region stays there, and only the policy's owner can see which it is.
"""

from __future__ import annotations

import os

from governance.access.services.requests import missing, refused
from governance.model.policy import AiService

_SCOPE = "https://cognitiveservices.azure.com/.default"
_SECONDS = 120


class AzureOpenAi:
    def __init__(self, service: AiService) -> None:
        try:
            import openai
        except ImportError:
            raise missing("azure-openai", "openai", "azure-openai") from None
        key = os.environ.get("AZURE_OPENAI_API_KEY")
        if key is None:
            try:
                from azure.identity import DefaultAzureCredential, get_bearer_token_provider
            except ImportError:
                raise missing("azure-openai", "azure-identity", "azure-openai") from None
            token = get_bearer_token_provider(DefaultAzureCredential(), _SCOPE)
        self._fault = openai.OpenAIError
        self._client = openai.OpenAI(
            base_url=f"{service.endpoint}/openai/v1/",
            api_key=key if key is not None else token,
            timeout=_SECONDS,
        )

    def send(self, name: str, data: bytes) -> str:
        try:
            file = self._client.files.create(file=(name, data, "application/jsonl"), purpose="batch")
            batch = self._client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        except self._fault as fault:
            raise refused("Azure OpenAI", type(fault).__name__) from None
        return batch.id


def record(instructed: bool) -> str:
    """A line of a batch's file, as SQL over ``id``, ``text``, ``$model`` and, where asked, ``$instructions``."""
    told = "{'role': 'system', 'content': $instructions}, " if instructed else ""
    return (
        "{'custom_id': id, 'method': 'POST', 'url': '/v1/chat/completions', 'body': {'model': $model, "
        f"'messages': [{told}{{'role': 'user', 'content': text}}]}}}}"
    )


def open_endpoint(service: AiService) -> AzureOpenAi:
    """Raises: AccessError GOV-608 where the client is not installed."""
    return AzureOpenAi(service)
