"""Frozen values that every room speaks. No I/O, no clock, no environment."""
