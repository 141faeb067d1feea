"""Procedural bodies for training without data: shapes of every region, different for every seed."""
