"""Expectations in Great Expectations' vocabulary: on source rows, and on the version read back."""

from __future__ import annotations

from governance.validate.drift import Drift
from governance.validate.judge import judge
from governance.validate.results import ValidationResult
from governance.validate.rules import by_part, check, expectations
from governance.validate.source import SourceRules

__all__ = ["Drift", "SourceRules", "ValidationResult", "by_part", "check", "expectations", "judge"]
