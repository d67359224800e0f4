"""The directory that ``python -m greenio`` puts on the PYTHONPATH of what it starts."""
