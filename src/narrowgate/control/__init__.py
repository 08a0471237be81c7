"""The control plane: health and metrics now; the API, OAuth and the console come here."""
