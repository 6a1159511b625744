"""From an upstream to inbox senders: protocols without I/O, the link, the runner, the fleet, the embedded upstream."""
