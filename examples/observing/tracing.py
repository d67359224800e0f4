"""A span of OpenTelemetry for each green thread.

    pip install opentelemetry-sdk
    python examples/observing/tracing.py

A span begins when its green thread is spawned, and belongs to the span of whoever spawned
it. An event tells when it began to run, so the time in between is seen as well.
"""

from greenlet import GreenletExit
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace import Status, StatusCode

import greenio
from greenio import debug


class GreenSpans(debug.Tracer):
    """Makes the spans.

    Args:
        tracer: What OpenTelemetry makes spans with.
    """

    def __init__(self, tracer):
        self._tracer = tracer
        # By green thread; those end here, so none is kept alive for long.
        self._spans = {}

    def spawned(self, thread):
        # The parent is the span of the current context: the spawner's.
        self._spans[thread] = self._tracer.start_span(thread.name)

    def started(self, thread):
        span = self._spans.get(thread)
        if span is not None:
            span.add_event("started")
            # This runs in the green thread, so it is its context: what it does, and who
            # it spawns, is below its span.
            context.attach(trace.set_span_in_context(span))

    def ended(self, thread, error):
        span = self._spans.pop(thread, None)
        if span is None:
            return
        # It may have been given another name since.
        span.update_name(thread.name)
        if isinstance(error, GreenletExit):
            span.add_event("killed")
        elif error is not None:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()


def fetch(number):
    greenio.sleep(0.01 * number)
    if number == 2:
        raise ValueError("no such page")
    return number


def crawl(tracer):
    with tracer.start_as_current_span("all pages"):
        threads = [greenio.spawn(fetch, number) for number in range(3)]
        for number, thread in enumerate(threads):
            thread.name = f"fetch {number}"
        greenio.joinall(threads)
        for thread in threads:
            try:
                print("fetched", thread.wait())
            except ValueError as error:
                print("failed:", error)


def describe(span):
    """Show a span in a line, instead of in JSON."""
    events = ", ".join(event.name for event in span.events)
    below = " below another" if span.parent else ""
    return f"{span.name}{below}: {span.status.status_code.name}; {events}\n"


def main():
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(formatter=describe)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("greenio")
    debug.set_tracer(GreenSpans(tracer))
    greenio.spawn(crawl, tracer).wait()
    debug.set_tracer(None)


if __name__ == "__main__":
    main()
