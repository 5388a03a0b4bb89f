"""Protection methods over Arrow arrays: one small registered class each, one file a family."""

from governance.protect.transforms.base import Transform, TransformContext
from governance.protect.transforms.registry import transform, transform_names

__all__ = ["Transform", "TransformContext", "transform", "transform_names"]
