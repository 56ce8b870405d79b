"""What is known: items with provenance and validity, found by meaning and by words."""
