"""What greenio costs, beside its rivals, in one run: ``python -m benchmarks``."""
