"""The databases of the sinks that hold the keyspace in memory, on top of fakeredis."""
