"""The bench: the gate beside other proxies, on the same machine, in the same run, doing the same work."""
