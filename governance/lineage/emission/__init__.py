"""Events on their way: durable here first, sent when the destination can take them, never lost in silence."""
