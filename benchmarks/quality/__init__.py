"""Time to quality: who is to be compared, how each trains with a clock, and what the images say. See ../time_to_quality.py."""
