"""The doors: the command line, and the main job that it does."""
