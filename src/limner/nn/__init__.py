"""Blocks that three systems or more share with the same numbers."""
