"""What ``python -m greenio`` is made of: its options, its console, and `doctor`."""
