"""What a sink could not take: the policy for it, and the file that keeps it for a later replay."""
