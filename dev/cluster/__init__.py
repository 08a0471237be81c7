"""A real Kubernetes on one machine, without Docker. Begin with cluster.py; README.md is its page."""
