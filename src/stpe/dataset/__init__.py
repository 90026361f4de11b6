"""The dataset on disk: tables, original media, reader, exports. Knows nothing of models."""
