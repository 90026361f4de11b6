"""OpenTelemetry spans where its package is installed; otherwise nothing.

Spans go where the process's tracer provider sends them. Where none is set up and the environment
names an exporter (`OTEL_EXPORTER_OTLP_ENDPOINT`), `configure` sets one up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import propagate, trace
except ImportError:
    trace = None

Attributes = Mapping[str, str | int | float]

log = logging.getLogger(__name__)


class Span:
    """What the code under a span may say of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def tell(self, name: str | None = None, **attributes: str | int | float) -> None:
        """Give a better name, and attributes whose dots are written as `__`."""
        if self._inner is None:
            return
        if name is not None:
            self._inner.update_name(name)
        for key, value in attributes.items():
            self._inner.set_attribute(key.replace("__", "."), value)


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Span]:
    """A piece of work.

    Args:
        name: what is done.
        attributes: what is known of it.
        headers: of the request that it answers: the span belongs to the trace that they name.
    """
    if trace is None:
        yield Span(None)
        return
    tracer = trace.get_tracer("stpe")
    parent = None if headers is None else propagate.extract(headers)
    kind = trace.SpanKind.INTERNAL if headers is None else trace.SpanKind.SERVER
    with tracer.start_as_current_span(name, parent, kind, dict(attributes or {})) as inner:
        yield Span(inner)


def configure() -> None:
    """Send spans where `OTEL_EXPORTER_OTLP_ENDPOINT` says, unless the process has a provider. Logs
    a warning where packages for it are missing."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("no traces are sent (%s): pip install 'stpe[otel]'", error)
        return
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    service = os.environ.get("OTEL_SERVICE_NAME", "stpe")
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
