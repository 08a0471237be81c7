"""The data plane: listener, pipeline, upstream pool, relay. Begin with `pipeline.py`."""
