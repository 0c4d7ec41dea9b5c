"""Systems that turn one picture into another."""
