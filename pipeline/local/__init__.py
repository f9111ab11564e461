"""A real OpenSearch, a shipper and a replayer on this machine, without Docker: `auditpipe up`."""
