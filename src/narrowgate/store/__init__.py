"""What workers and gates share (agents, policy revisions): one port, one file per database."""
