"""Green versions of standard modules: what blocks there parks the green thread here."""
