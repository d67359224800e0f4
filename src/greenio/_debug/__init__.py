"""What `greenio.debug` is made of."""
