"""Pictures of a registration."""
