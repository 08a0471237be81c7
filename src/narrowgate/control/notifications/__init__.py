"""Telling people what happened: signed webhooks, Slack, e-mail; the list of changes is the queue."""
