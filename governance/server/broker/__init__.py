"""The key broker over HTTP: who asks, what may be granted, and the record of it."""
