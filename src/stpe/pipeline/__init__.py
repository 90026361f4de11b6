"""Plans, artifacts and executors: what runs, what is kept, and how it is run."""
