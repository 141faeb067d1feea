"""A procedural torso: two CT-like images of one anatomy with an exactly known motion between them. No files."""
