"""Measures of a result against the truth: overlap of labels. Pure numpy, no files."""
