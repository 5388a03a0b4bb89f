"""k-anonymity, l-diversity and t-closeness: measured on what is released, and enforced."""

from governance.protect.anonymity.enforcing import RULE, Anonymizer

__all__ = ["RULE", "Anonymizer"]
