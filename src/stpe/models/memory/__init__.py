"""What models take of a device's memory: measured, planned, and told."""
