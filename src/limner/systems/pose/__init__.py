"""Systems that are steered by a person's pose."""
