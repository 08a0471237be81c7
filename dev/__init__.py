"""What a developer runs and users never see: building pinned programs, a cluster to stand on."""
