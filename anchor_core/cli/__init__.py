"""The command line of the pack: one module for each group of commands."""
