"""
What one point does to one (stream, track): pure functions over small immutable states, no clock, no I/O (semantics.md 3).

``cumulative`` and ``delta`` step sums; ``ids`` remembers what has no window to be told apart by: log records and delta
instants. Quantities are ints in the scale of the stream; a caller keeps one scale per stream and promotes the state once.
"""
