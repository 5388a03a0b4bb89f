"""The keys of reversible tokens in free text, as protect seals with them and a governed read opens with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from governance.keys.text_tokens import Ordinals, TextKey, text_keys
from governance.model.contract import Contract
from governance.pipeline.people import gathered
from governance.pipeline.workspace import Workspace


def keys_of_text(workspace: Workspace, contract: Contract) -> Callable[[str, Ordinals], list[TextKey | None]]:
    """A released column's name and the people of n rows → a key for each row."""
    domain, dataset = contract.subject.domain, contract.dataset

    def secrets(people: Ordinals) -> npt.NDArray[np.uint8]:
        return gathered(contract.subject, people, workspace.vault.secrets, 32)

    def keys(column: str, people: Ordinals) -> list[TextKey | None]:
        secret = workspace.keyring.secret(text_secret(dataset))
        return text_keys(secret, people, secrets, domain, dataset, column)

    return keys


def text_secret(dataset: str) -> str:
    """The label of the key store's part in these keys."""
    return f"text-token:{dataset}"
