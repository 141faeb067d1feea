"""unireg: one conditional model for 3-D CT and MR registration, written as ITK transforms."""
