"""Recordings on disk and where they are kept: written block by block, sealed, read back, encrypted, kept or let go."""
