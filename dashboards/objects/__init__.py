"""The saved objects of OpenSearch Dashboards, made by code; `saved-objects.ndjson` beside it is what `build` makes."""
