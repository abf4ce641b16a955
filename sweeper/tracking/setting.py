"""What of a sweep MLflow keeps beside its runs: the environment as a dataset, and a view of it.

A view is what "Save view" of MLflow's runs page makes: a tag of the experiment, as JSON, with a
name and the state of the page: the sort order, the filter, the columns and the charts. The page
lists it among its views, and an address names it by its key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from sweeper.tracking.curves import SCORE
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.naming import clip, quote

__all__ = [
    "VIEW_TAG",
    "describe_dataset",
    "describe_view",
    "view_filter",
    "view_tag",
    "write_setting",
]

VIEW_TAG = "mlflow.sharedViewState."
_MAX_PROFILE = 20_000
_MAX_SEARCHED = 12
_MAX_NAME = 500


def write_setting(
    client: Any,
    experiment_id: str,
    run_id: str,
    sweep: SweepDescription,
    identity: Mapping[str, Any],
    made_ms: int,
) -> None:
    """Write both, where MLflow lacks them; the arguments as the two below take them."""
    dataset = describe_dataset(sweep, identity)
    known = client.get_run(run_id).inputs.dataset_inputs
    if dataset.dataset.digest not in {one.dataset.digest for one in known}:
        client.log_inputs(run_id, datasets=[dataset])
    key, view = describe_view(sweep, made_ms)
    if client.get_experiment(experiment_id).tags.get(key) != view:
        client.set_experiment_tag(experiment_id, key, view)


def describe_dataset(sweep: SweepDescription, identity: Mapping[str, Any]) -> Any:
    """The environment as an MLflow dataset input.

    Args:
        sweep: whose environment it is.
        identity: an `EnvironmentIdentity` as JSON; may be empty.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps(sweep.environment, sort_keys=True, default=str)
    profile = json.dumps(identity, sort_keys=True, default=str)
    digest = hashlib.sha256(f"{source}\0{profile}".encode()).hexdigest()[:8]
    dataset = Dataset(
        name=clip(sweep.tags["sweeper.environment"], _MAX_NAME),
        digest=digest,
        source_type="gymnasium",
        source=source,
        profile=profile if len(profile) < _MAX_PROFILE else None,
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])


def describe_view(sweep: SweepDescription, made_ms: int) -> tuple[str, str]:
    """The experiment's tag with the view of a sweep: its key and its value.

    The search's trials, the best first, with their score and what was searched; as charts the
    curves, parallel coordinates, and the score over each parameter.

    Args:
        sweep: whose view it is.
        made_ms: when the sweep began.
    """
    # As `savedViewEnvelope.ts` of MLflow's pages has it. A tag holds 20,000 characters, so the
    # state is compressed there as here.
    packed = base64.b64encode(zlib.compress(json.dumps(_state_of(sweep)).encode()))
    state = f"deflate;{packed.decode()}"
    view = {"name": sweep.run_name, "createdAt": made_ms, "state": state}
    return view_tag(sweep.run_name), json.dumps(view)


def _state_of(sweep: SweepDescription) -> dict[str, Any]:
    """The runs page of a sweep, by the names of MLflow's ``ExperimentPageUIState.ts``."""
    score = f"metrics.`{SCORE}`"
    searched = list(sweep.searched)[:_MAX_SEARCHED]
    # What was tried and what came of it, before when and for how long.
    decisive = {score: 130, f"metrics.`{SCORE}_confirmed`": 190}
    tried = {f"params.`{name}`": _width_of(name) for name in searched}
    columns = {"attributes.`Run Name`": 260, **decisive, **tried}
    columns |= {"runDateAndNestInfo": 150, "duration": 80}
    name = {"uuid": "sweeper", "name": "Sweep", "display": True}
    return {
        "orderByKey": score,
        "orderByAsc": sweep.objective.mode == "min",
        "searchFilter": view_filter(sweep.run_name),
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*decisive, *tried],
        "columnOrder": list(columns),
        "columnWidths": columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": _charts(searched, sweep.objective.metric),
        "compareRunSections": [
            {**name, "isReordered": False, "deleted": False, "isGenerated": False}
        ],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
        **{key: [] for key in ("runsPinned", "runsHidden")},
        **{key: {} for key in ("runsExpanded", "runsVisibilityMap")},
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _width_of(heading: str) -> int:
    """Of a column, in pixels, so that its heading and a number fit."""
    return min(max(110, 40 + 7 * len(heading)), 260)


def view_tag(run_name: str) -> str:
    """The experiment's tag with the view of a sweep."""
    # The key stands in an address, and a folder may have any name.
    plain = re.sub(r"[^\w.-]", "_", run_name, flags=re.ASCII)
    return f"{VIEW_TAG}{plain}"[:250]


def view_filter(run_name: str) -> str:
    """What finds the trials of a sweep's search, without those of its confirmation."""
    return f"tags.`sweeper.run` = {quote(run_name)} AND tags.`sweeper.stage` = 'search'"


def _charts(searched: list[str], metric: str) -> list[dict[str, Any]]:
    shared = {
        "metricSectionId": "sweeper",
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 100,
    }
    charts: list[dict[str, Any]] = [
        {
            "uuid": "sweeper-curves",
            "type": "LINE",
            "displayName": f"{metric} over env steps",
            "metricKey": SCORE,
            "selectedMetricKeys": [SCORE],
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "range": {},
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
            "ignoreOutliers": False,
        },
    ]
    if searched:
        charts.append(
            {
                "uuid": "sweeper-parallel",
                "type": "PARALLEL",
                "displayName": "What was tried, and its score",
                "selectedParams": searched,
                "selectedMetrics": [SCORE],
                "showAllRuns": True,
            }
        )
    charts += [
        {
            "uuid": f"sweeper-scatter-{number}",
            "type": "SCATTER",
            "displayName": f"score over {parameter}",
            "xaxis": {"key": parameter, "type": "PARAM"},
            "yaxis": {"key": SCORE, "type": "METRIC"},
        }
        for number, parameter in enumerate(searched)
    ]
    return [{**shared, **chart} for chart in charts]
