"""How close generated images come to real ones: pure functions of images and of their features."""
