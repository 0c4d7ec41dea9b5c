"""Systems that words steer, and what those are made of."""
