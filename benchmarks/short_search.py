"""The shortest script that does what `auditpipe search --limit 20` does: the peer of that figure."""

from pathlib import Path

import click
from opensearchpy import OpenSearch


@click.command()
@click.argument("url")
@click.argument("ca_file")
@click.argument("user")
@click.argument("password_file", type=Path)
def main(url: str, ca_file: str, user: str, password_file: Path) -> None:
    client = OpenSearch(url, ca_certs=ca_file, http_auth=(user, password_file.read_text().strip()))
    found = client.search(index="audit-events-*", body={"size": 20, "sort": [{"@timestamp": "desc"}]})
    for hit in found["hits"]["hits"]:
        event = hit["_source"]
        click.echo(f"{event['@timestamp']}  {event['event']['action']}  {event['message']}")


main()
