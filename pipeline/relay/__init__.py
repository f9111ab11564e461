"""The relay: Forward protocol in, bulk `create` out, nothing kept in between."""
