"""From a source to a packed dataset on disk."""
