"""The conditional network: what it can be asked for, how it is built, and the file of its weights."""
