"""Models that are algorithms of OpenCV: nothing to download."""
