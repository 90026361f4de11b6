"""One way each to run a model; a backend turns weights into an object that plays a role."""
