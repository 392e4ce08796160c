"""Parties that break the protocol, and inputs that nobody honest sends."""
