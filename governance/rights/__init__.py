"""The rights of data subjects: erasure, its plan, its steps and what the log proves of them."""

from governance.rights.erasing import request_erasure
from governance.rights.facts import erasure_facts
from governance.rights.finishing import finish
from governance.rights.plan import ErasurePlan, plan_erasure
from governance.rights.readmission import readmit
from governance.rights.status import erasure_status

__all__ = [
    "ErasurePlan",
    "erasure_facts",
    "erasure_status",
    "finish",
    "plan_erasure",
    "readmit",
    "request_erasure",
]
