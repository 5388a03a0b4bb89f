"""The rights of data subjects: erasure, its plan, its steps and what the log proves of them."""

from governance.rights.erasing import request_erasure
from governance.rights.facts import erasure_facts
from governance.rights.plan import ErasurePlan, plan_erasure

__all__ = ["ErasurePlan", "erasure_facts", "plan_erasure", "request_erasure"]
