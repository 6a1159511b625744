"""The upstream's side of the inbox: protocols without I/O, the link, the runner, the fleet, the embedded primary."""
