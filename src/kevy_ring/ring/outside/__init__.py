"""Code that looks at rings without taking a role: their records, their figures, and what dead processes left."""
