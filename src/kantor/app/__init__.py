"""One file a job. Configurations become parts here, and only here."""
