"""One record of each kind with every field set, so that a forgotten field shows."""

from datetime import UTC, datetime, timedelta

from headgate.core import deployments, runs, states

NOW = datetime(2026, 5, 4, 3, 2, 1, 123_456, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

DETAILS = states.StateDetails(
    scheduled_time=NOW,
    child_flow_run_id="child",
    cache_key="key",
    cache_expire_time=LATER,
    retriable=False,
    pause_expire_time=LATER,
    pause_reschedule=True,
    pause_key="pause",
    transition_id="transition",
    traceparent="00-1-2-3",
    call_key="call",
)
STATE = states.State(
    id="state",
    type=states.StateType.SCHEDULED,
    name="AwaitingRetry",
    timestamp=NOW,
    message="It comes again.",
    details=DETAILS,
    data=states.Payload(serializer="pickle", inline=b"\x00\xff"),
)
FLOW = runs.Flow(
    id="flow",
    name="etl",
    labels={"team": "a"},
    tags=("x", "y"),
    create_time=NOW,
    update_time=LATER,
)
RETRY_POLICY = runs.RetryPolicy(max_retries=3, delays_seconds=(0.5, 2.0), jitter_factor=0.25)
FLOW_RUN = runs.FlowRun(
    id="run",
    name="brave-otter",
    flow_id="flow",
    flow_name="etl",
    deployment_id="deployment",
    deployment_name="etl/daily",
    flow_version="7",
    parameters={"limit": "10"},
    tags=("x",),
    labels={"team": "a"},
    state=STATE,
    run_count=2,
    retry_policy=RETRY_POLICY,
    expected_start_time=NOW,
    start_time=NOW,
    end_time=LATER,
    parent_task_run_id="task",
    parent_flow_run_id="parent",
    root_flow_run_id="root",
    work_pool_name="gpu",
    work_queue_name="fast",
    priority=5,
    job_variables={"image": '"a"'},
    auto_scheduled=True,
    fencing_token=9,
    runner_name="runner-1",
    reschedule_count=1,
    create_time=NOW,
    revision=77,
)
TASK_RUN = runs.TaskRun(
    id="task",
    name="parse-3",
    flow_run_id="run",
    task_key="parse",
    dynamic_key="3",
    task_version="2",
    tags=("x",),
    state=STATE,
    run_count=1,
    max_retries=2,
    expected_start_time=NOW,
    start_time=NOW,
    end_time=LATER,
    parent_task_run_id="outer",
    upstream_run_ids=("a", "b"),
    flow_run_attempt=2,
    create_time=NOW,
    revision=78,
)
RECORDED_CALL = runs.RecordedCall(
    task_run_id="task-run", call_key="key", dynamic_key="3", state=STATE
)
SCHEDULES = tuple(
    deployments.Schedule(
        id=f"schedule-{number}",
        slug=f"slug-{number}",
        rule=rule,
        paused=True,
        parameters={"limit": "1"},
        max_scheduled_runs=7,
    )
    for number, rule in enumerate(
        [
            deployments.CronRule(expression="0 9 * * *", time_zone="Europe/Berlin", day_or=False),
            deployments.IntervalRule(
                interval_seconds=90.5, anchor_time=NOW, time_zone="Asia/Tokyo"
            ),
            deployments.RecurrenceRule(rule="RRULE:FREQ=DAILY", time_zone="America/Lima"),
        ]
    )
)
DEPLOYMENT = deployments.Deployment(
    id="deployment",
    name="daily",
    flow_id="flow",
    flow_name="etl",
    entrypoint="flows.py:etl",
    path="/srv",
    description="All of it.",
    version="7",
    tags=("x",),
    labels={"team": "a"},
    parameters={"limit": "10"},
    parameter_schema="{}",
    enforce_parameter_schema=True,
    schedules=SCHEDULES,
    paused=True,
    concurrency_limit=3,
    collision_strategy=deployments.CollisionStrategy.CANCEL_NEW,
    work_pool_name="gpu",
    work_queue_name="fast",
    job_variables={"image": '"a"'},
    pull_steps=(deployments.PullStep(name="git_clone", inputs={"url": '"x"'}),),
    on_infrastructure_loss=deployments.InfrastructureLossPolicy(
        action=deployments.InfrastructureLossAction.RESCHEDULE, max_reschedules=0
    ),
    create_time=NOW,
    update_time=LATER,
    etag="e1",
)
WORK_POOL = deployments.WorkPool(
    id="pool",
    name="gpu",
    type="docker",
    description="Fast.",
    concurrency_limit=0,
    paused=True,
    state=deployments.WorkPoolState.PAUSED,
    base_job_template="{}",
    create_time=NOW,
    update_time=LATER,
)
WORK_QUEUE = deployments.WorkQueue(
    id="queue",
    name="fast",
    work_pool_name="gpu",
    description="Faster.",
    priority=1,
    concurrency_limit=2,
    paused=True,
    create_time=NOW,
)
RUNNER = deployments.Runner(
    id="runner",
    name="runner-1",
    work_pool_names=("gpu",),
    work_queue_names=("fast",),
    online=True,
    slots=4,
    leases=2,
    last_beat_time=NOW,
    sdk="headgate-python/0.1.0",
)
LOG_RECORD = runs.LogRecord(
    flow_run_id="run",
    task_run_id="task",
    timestamp=NOW,
    level=30,
    logger="headgate.task_runs",
    message="Careful.",
    id=12,
)
