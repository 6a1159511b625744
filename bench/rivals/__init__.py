"""One file per rival: how it is used in its fastest documented lossless way, in order."""
