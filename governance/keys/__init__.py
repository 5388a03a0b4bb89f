"""Keys and the subject vault: what encrypts, signs and names, and how each of it can be destroyed."""
