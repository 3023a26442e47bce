"""From what a user calls data to a packed dataset."""
