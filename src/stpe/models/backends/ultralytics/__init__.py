"""YOLO through ultralytics, whose licence is AGPL-3.0: imported only where a user named it."""
