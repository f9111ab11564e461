"""What is wrong with a cluster, with who may look, with the shipper and with retention, and what to do about it."""
