"""The check of saved objects, in three steps; the next only where the one before found nothing."""

import time
from collections.abc import Sequence

from opensearchpy import OpenSearch

from auditpipe.dashboards.check import form, mapped
from auditpipe.dashboards.check.problem import Problem
from auditpipe.dashboards.check.running import Run
from auditpipe.dashboards.objects.fields import all_fields
from auditpipe.dashboards.objects.saved import SavedObject


def offline(objects: Sequence[SavedObject]) -> list[Problem]:
    """What is wrong with the objects themselves: their form, then their fields."""
    return form.problems(objects) or mapped.problems(objects, all_fields())


def on_cluster(client: OpenSearch, objects: Sequence[SavedObject], *, allow_empty: bool = False) -> list[Problem]:
    """What is wrong with them on a cluster; `allow_empty`: without what only shows nothing. OutOfReach, NotAllowed."""
    found = offline(objects) or list(Run(client, objects, time.time_ns()).problems())
    return [problem for problem in found if not (allow_empty and problem.empty)]
