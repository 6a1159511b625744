"""An upstream of your own for tests: ``EmbeddedPrimary`` serves kevy's replication protocol in processes of its own."""
