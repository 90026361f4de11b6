"""From measured facts to plain sentences, each traceable to the rows it came from."""
