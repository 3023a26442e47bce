"""The command line: arguments in, jobs out. Nothing heavy is imported before a command needs it."""
