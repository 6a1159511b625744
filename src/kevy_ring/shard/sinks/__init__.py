"""Where a shard's events end up."""
