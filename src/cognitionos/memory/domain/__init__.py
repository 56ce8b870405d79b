"""Rules of memory: what an item may be, how a text becomes words and chunks, how candidates are ranked. Pure."""
