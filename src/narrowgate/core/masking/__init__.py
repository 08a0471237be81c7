"""Masks: what they look for, which of them hold for whom, and what becomes of a value that one meets."""
