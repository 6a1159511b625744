"""The comparison of what a sink holds with what the upstream holds, key by key."""
