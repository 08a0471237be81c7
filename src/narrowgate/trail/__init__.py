"""The journal on disk: written before anything is forwarded, verified, indexed and exported from here."""
