"""Files: the only room that knows paths, formats and RAS."""
