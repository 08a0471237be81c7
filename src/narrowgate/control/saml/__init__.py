"""Signing in with SAML 2.0: `sign_in.py` has the routes, `response.py` what a response proves."""
