"""Kinds of data, their folder layouts, and decoding with limits."""
