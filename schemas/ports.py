"""Where the parts listen, each on loopback, unless they are told otherwise."""

OPENSEARCH = 9200
#: The shipper's, for emitters: the port that Fluentd and Fluent Bit use.
FORWARD = 24224
#: The shipper's, for Prometheus.
METRICS = 24280
CONSOLE = 24800
