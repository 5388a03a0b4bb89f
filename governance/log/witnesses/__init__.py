"""Who outside vouches for a log: witnesses and timestamp authorities, asked and checked."""
