"""Metrics of a program on greenio, for Prometheus.

    pip install prometheus-client
    python examples/observing/metrics.py [port]

The numbers are taken when somebody asks for them, so they cost nothing in between; only
how late the loop is has to be measured now and then.
"""

import dataclasses
import sys

from prometheus_client import CollectorRegistry, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import greenio
from greenio import debug, hubs, tpool, wsgi


class GreenioCollector(Collector):
    """Everything that has `statistics()`, as gauges named after their fields."""

    def __init__(self, **sources):
        self._sources = sources

    def collect(self):
        for name, source in self._sources.items():
            statistics = source.statistics()
            for field in dataclasses.fields(statistics):
                value = getattr(statistics, field.name)
                if isinstance(value, (int, float)):
                    yield GaugeMetricFamily(
                        f"greenio_{name}_{field.name}",
                        f"{field.name} of {type(statistics).__name__}",
                        value=value,
                    )


def watch_lag(histogram, interval):
    """Measure how late the loop is, for ever."""
    while True:
        histogram.observe(debug.measure_lag(interval))


def make_app(pool, interval=1.0):
    """Return a WSGI application that answers with the metrics of this program."""
    registry = CollectorRegistry()
    registry.register(GreenioCollector(hub=hubs.get_hub(), pool=pool, tpool=tpool))
    lag = Histogram(
        "greenio_loop_lag_seconds",
        "How late a green thread wakes that has slept",
        buckets=(0.001, 0.01, 0.1, 1, 10),
        registry=registry,
    )
    greenio.spawn(watch_lag, lag, interval).name = "metrics: lag"
    return make_wsgi_app(registry)


def main():
    pool = greenio.GreenPool(100)
    for _ in range(3):
        pool.spawn(greenio.sleep, 3600)
    listener = greenio.listen(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 9000))
    print(f"metrics on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    wsgi.server(listener, make_app(pool, interval=0.01), log_output=False)


if __name__ == "__main__":
    main()
