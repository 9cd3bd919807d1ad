"""The independent oracle: every learning rule by hand, NumPy and the standard library only."""
