"""Events taken over HTTP: read as they arrive, acknowledged when durable, judged against the spec afterwards."""
