"""The tables of the sync report, a subject a module; each function gives the rows of one kind of tokens."""
