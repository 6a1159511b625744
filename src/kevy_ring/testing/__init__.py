"""An upstream of your own for tests: ``EmbeddedPrimary`` serves kevy's replication protocol in processes of its own.

Test the code that applies your stream without a server:

    with EmbeddedPrimary.start(shards=1, keys=100, ops=1000) as primary:
        ...  # follow primary.url
"""

from kevy_ring.testing.options import PrimaryOptions
from kevy_ring.testing.primary import EmbeddedPrimary

__all__ = ["EmbeddedPrimary", "PrimaryOptions"]
