"""An upstream for your tests: ``EmbeddedPrimary`` serves kevy's replication protocol from its own process.

It tests the code that applies your stream, without a server:

    with EmbeddedPrimary.start(shards=1, keys=100, ops=1000) as primary:
        ...  # follow primary.url
"""

from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary import EmbeddedPrimary

__all__ = ["EmbeddedPrimary", "PrimaryOptions"]
