"""Numbers that say how near drawn pictures come to real ones: pure functions of pictures and of their features."""
