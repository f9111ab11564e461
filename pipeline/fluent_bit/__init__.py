"""Fluent Bit for audit events: its configuration, its guard against what is no event, and how it is started."""
