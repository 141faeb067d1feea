"""From two images to a transform: prepare -> align -> refine -> finish. No files, no printing."""
