"""Video in: sources, exact presentation times, one decode pass for many sampling grids."""
