"""The settings of OpenSearch and of its Security plugin that the local stack and docker-compose.yml share."""
