"""Code that looks at a ring from outside, without being a peer: its records, its figures, what dead processes left."""
