"""Models: roles, the catalog of what exists, weight files, and backends that run them."""
