"""What columns hold because of what they came from, and what people corrected."""
