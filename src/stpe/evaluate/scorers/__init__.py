"""One module a signal: `score(view, truth)` gives its measures, none where truth is silent."""
