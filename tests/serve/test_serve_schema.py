"""The OpenAPI document against the server, by schemathesis where it is installed.

Its pins clash with others', so it lives in an environment of its own: `make schemathesis` makes
one and runs this; or put its `st` on the PATH, or name it by STPE_SCHEMATHESIS.
"""

import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.weights
SECONDS = os.environ.get("STPE_SCHEMATHESIS_SECONDS", "20")


def test_the_document_is_complete(live):
    document = live.call("GET", "/openapi.json").json()
    operations = [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 26
    for name, operation in operations:
        assert operation.get("summary"), name
        problem = operation["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}, name
        assert "HTTPValidationError" not in str(operation), name
    for request in ("DetectRequest", "ConceptRequest", "VelocityRequest", "Clip"):
        assert request in document["components"]["schemas"]


def test_no_generated_request_breaks_it(live):
    st = os.environ.get("STPE_SCHEMATHESIS") or shutil.which("st")
    if st is None:
        pytest.skip("schemathesis is not here; `make schemathesis` installs and runs it")
    # Random strings are no images: that they are refused is not a violation.
    done = subprocess.run(
        [
            st, "run", f"{live.url}/openapi.json", "--max-time", SECONDS,
            "--exclude-checks", "positive_data_acceptance",
            "--phases", "examples,coverage,fuzzing,stateful", "-n", "20",
        ],
        capture_output=True, text=True, timeout=float(SECONDS) + 120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
