"""What the verbs of the command line do; `cli` parses, these work."""
