"""Batch endpoints of providers of models: what a disclosure to an AI service is sent through.

A new one is a module with ``open_endpoint`` and ``record``, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from governance.access.services.requests import Endpoint
from governance.model.policy import AiService

_MODULES = {
    "azure-openai": "governance.access.services.azure_openai",
    "bedrock": "governance.access.services.bedrock",
    "vertex-ai": "governance.access.services.vertex_ai",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """``record`` is a request as SQL, with instructions or without; ``open_endpoint`` connects."""

    record: Callable[[bool], str]
    open_endpoint: Callable[[AiService], Endpoint]


def provider(kind: str) -> Provider:
    """That of a kind the policy's schema knows; imported at first use."""
    module = import_module(_MODULES[kind])
    return Provider(module.record, module.open_endpoint)
