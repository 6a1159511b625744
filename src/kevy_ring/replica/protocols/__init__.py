"""The replication protocols of kevy and Redis, without I/O: bytes in, events out, bytes to send."""
