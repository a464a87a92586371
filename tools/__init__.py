"""Programs that make files we ship from published ones; run from a checkout, imported by nothing in the library."""
