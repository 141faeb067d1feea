"""How alike two images are: each measure gives a value and a closed-form gradient. Pure torch."""
