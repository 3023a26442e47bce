"""New runs, resumed ones, and what is decided before they start."""
