"""Makes the images that the end-to-end suite runs, from packages, where none can be pulled."""
