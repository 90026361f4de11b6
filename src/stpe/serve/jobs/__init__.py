"""Jobs: the prototype's operations, run now or queued, the same over HTTP and RunPod.

- `inputs.py`, `outputs.py`: what each operation takes and answers, as pydantic models.
- `operations.py`: one function an operation, and `OPERATIONS`, which lists them.
- `beside.py`: videos that are processed beside each other into one dataset.
- `media.py`: videos, ZIPs and images of an input. `answers.py`: answers from a dataset.
- `store.py`: jobs that outlive the process, in SQLite or Postgres (`database.py`).
- `runner.py`: takes jobs from the store and runs them; `watch.py` turns the pipeline's progress
  into a fraction with a stage name.
- `settings.py`: where jobs and their dataset lie.
"""
