"""The tasks of `POST /infer`."""
