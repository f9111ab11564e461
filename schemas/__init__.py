"""What an event is: models, catalogue, before/after, canonical bytes and the hash link, index mapping.

Nothing is imported here: a reader that only searches must not pay for pydantic. Import the module that you need.
"""
