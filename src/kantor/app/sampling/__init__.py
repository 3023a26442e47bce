"""Images, films and sound from trained generators."""
