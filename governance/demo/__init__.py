"""Sample input and the demonstration that runs on it."""
