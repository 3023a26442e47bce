"""Images, animations and sound from trained generators."""
