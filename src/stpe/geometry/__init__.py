"""Pure functions on points, flow and cameras: no stage, no model, no file."""
