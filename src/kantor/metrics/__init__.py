"""Numbers that say how near drawn images come to real ones: pure functions of images and of their features."""
