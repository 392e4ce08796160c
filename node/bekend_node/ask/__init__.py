"""The requester's side of a lookup: protocol section 7, steps (1), (2), (4), (5), (10), (11)."""
