"""What template.yaml promises: what no emulator enforces, and what the code takes for granted."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from messaging.subscriber import Subscriber
from tests.samples import published_classes
from tests.template import (
    DEVELOPMENT,
    PRODUCTION,
    ROOT,
    Properties,
    Stack,
    is_open,
    sources,
    target,
)

FUNCTIONS = list(DEVELOPMENT.functions)
SUBSCRIBERS = [name for name, f in DEVELOPMENT.functions.items() if sources(f, "SQS")]
RELAYS = [name for name, f in DEVELOPMENT.functions.items() if sources(f, "DynamoDB")]
APIS = [name for name, f in DEVELOPMENT.functions.items() if sources(f, "Api")]
BY_HAND = ["OrderHistoryRebuildFunction"]
"""Triggered by nothing: `make rebuild-history` invokes it."""
OPEN_TO_EVERYBODY = {"HealthFunction", "ConsoleFunction"}
OF_A_SERVICE = [name for name in FUNCTIONS if name not in {*OPEN_TO_EVERYBODY, *BY_HAND}]
WITH_ROUTES = [name for name in APIS if name != "ConsoleFunction"]
"""Those with a resolver. The console's files are at the paths that it names."""


@pytest.fixture(params=[DEVELOPMENT, PRODUCTION], ids=["development", "production"])
def stack(request: pytest.FixtureRequest) -> Stack:
    assert isinstance(request.param, Stack)
    return request.param


def handler_of(stack: Stack, function: str) -> Any:
    """The module that has the function's handler."""
    properties = stack.functions[function]
    module, _ = properties["Handler"].rsplit(".", 1)
    return importlib.import_module(f"{properties['CodeUri'].strip('/').replace('/', '.')}.{module}")


def variables(stack: Stack, function: str) -> Properties:
    found: Properties = stack.functions[function]["Environment"]["Variables"]
    return found


def role_of(stack: Stack, function: str) -> Properties:
    return stack.resources("AWS::IAM::Role")[target(stack.functions[function]["Role"])]


def permissions(stack: Stack, function: str) -> list[tuple[str, Any]]:
    """Each action that the function's role allows, with each resource it allows it on."""
    granted = []
    for policy in role_of(stack, function)["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in as_list(statement["Action"]):
                granted += [(action, resource) for resource in as_list(statement["Resource"])]
    return granted


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def service_of(name: str) -> str:
    """The service that a resource belongs to, by its name."""
    return next(s for s in ("OrderHistory", "Customers", "Orders") if name.startswith(s))


# Roles


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_names_each_action_and_each_resource(stack: Stack, function: str) -> None:
    for action, resource in permissions(stack, function):
        assert re.fullmatch(r"[a-z]+:[A-Za-z]+", action)
        assert "*" not in json.dumps(resource)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_has_no_managed_policy_but_what_tracing_and_a_vpc_take(
    stack: Stack, function: str
) -> None:
    policies = [target(p) for p in role_of(stack, function).get("ManagedPolicyArns", [])]

    is_traced = stack.functions[function].get("Tracing") == "Active"
    in_vpc = "VpcConfig" in stack.functions[function]
    expected = ["TracingPolicy"] * is_traced + ["NetworkInterfacesPolicy"] * in_vpc
    assert policies == expected
    for policy in stack.resources("AWS::IAM::ManagedPolicy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert all(re.fullmatch(r"(ec2|xray):[A-Za-z]+", action) for action in statement["Action"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_lambda_may_take_a_functions_role(stack: Stack, function: str) -> None:
    (statement,) = role_of(stack, function)["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_no_two_functions_share_a_role(stack: Stack) -> None:
    roles = [target(function["Role"]) for function in stack.functions.values()]

    assert len(roles) == len(set(roles))


@pytest.mark.parametrize("function", OF_A_SERVICE)
def test_a_function_reaches_the_tables_of_its_own_service_only(stack: Stack, function: str) -> None:
    reached = json.dumps([permissions(stack, function), variables(stack, function)])

    for table in stack.resources("AWS::DynamoDB::Table"):
        if service_of(table) != service_of(function):
            assert not re.search(rf'["{{]{table}["}}.]', reached)


def test_what_rebuilds_the_view_may_read_the_outboxes_and_do_nothing_else_to_any_table(
    stack: Stack,
) -> None:
    (function,) = BY_HAND
    allowed = {
        (action, target(resource))
        for action, resource in permissions(stack, function)
        if action.startswith("dynamodb:")
    }

    assert allowed == {("dynamodb:Scan", f"{s}Outbox") for s in ("Customers", "Orders")}


def test_health_sees_that_every_table_is_there_and_nothing_that_is_in_it(stack: Stack) -> None:
    allowed = {
        (action, target(resource))
        for action, resource in permissions(stack, "HealthFunction")
        if action.startswith("dynamodb:")
    }

    tables = stack.resources("AWS::DynamoDB::Table")
    assert allowed == {("dynamodb:DescribeTable", table) for table in tables}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_those_who_need_to_can_scan_delete_and_publish(stack: Stack, function: str) -> None:
    actions = {action for action, _ in permissions(stack, function)}

    lists_things = {"CustomersApiFunction", "OrdersApiFunction"}
    assert ("dynamodb:Scan" in actions) == (function in {*lists_things, *BY_HAND})
    assert ("dynamodb:DeleteItem" in actions) == (function == "CustomersSubscriberFunction")
    assert ("events:PutEvents" in actions) == (function in RELAYS)


@pytest.mark.parametrize("function", [f for f in OF_A_SERVICE if f not in RELAYS])
def test_a_service_can_only_add_to_its_outbox(stack: Stack, function: str) -> None:
    for action, resource in permissions(stack, function):
        if target(resource).endswith("Outbox"):
            assert action == "dynamodb:PutItem"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_writes_its_own_log_and_no_other(stack: Stack, function: str) -> None:
    written = {
        target(resource)
        for action, resource in permissions(stack, function)
        if action.startswith("logs:")
    }

    assert written == {target(stack.functions[function]["LoggingConfig"]["LogGroup"])}


@pytest.mark.parametrize("function", [*SUBSCRIBERS, *RELAYS])
def test_a_function_can_read_what_triggers_it_and_send_to_its_dead_letter_queue(
    stack: Stack, function: str
) -> None:
    properties = stack.functions[function]
    allowed = {(action, target(resource)) for action, resource in permissions(stack, function)}

    dead_letters = target(variables(stack, function)["DEAD_LETTER_QUEUE_URL"])
    assert dead_letters == f"{function.removesuffix('Function')}DeadLetterQueue"
    assert ("sqs:SendMessage", dead_letters) in allowed
    for source in sources(properties, "SQS"):
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            assert (f"sqs:{action}", target(source["Queue"])) in allowed
    for source in sources(properties, "DynamoDB"):
        for action in ("DescribeStream", "GetRecords", "GetShardIterator"):
            assert (f"dynamodb:{action}", target(source["Stream"])) in allowed


# Functions


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_something_that_triggers_it_and_a_log_that_is_not_kept_for_ever(
    stack: Stack, function: str
) -> None:
    properties = stack.functions[function]
    log_group = target(properties["LoggingConfig"]["LogGroup"])

    assert ("Events" in properties) == (function not in BY_HAND)
    assert int(stack.resources("AWS::Logs::LogGroup")[log_group]["RetentionInDays"]) > 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_variables_that_its_code_asks_for(stack: Stack, function: str) -> None:
    properties = stack.functions[function]
    module = properties["Handler"].split(".")[0]
    handler = (ROOT / properties["CodeUri"] / f"{module}.py").read_text()
    common = "".join(path.read_text() for path in (ROOT / "layers/common").rglob("*.py"))
    given = set(variables(stack, function))

    asked_for = set(re.findall(r'os\.environ\["(\w+)"\]', handler))
    if "connect_from_environment" in handler:
        asked_for.add("MONGODB_SECRET_NAME" if stack is PRODUCTION else "MONGODB_URI")
    assert asked_for <= given
    for name in given - {"POWERTOOLS_SERVICE_NAME"}:
        assert f'"{name}"' in handler + common, f"nobody reads {name}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_signs_its_log_lines_with_its_own_name(stack: Stack, function: str) -> None:
    name = variables(stack, function)["POWERTOOLS_SERVICE_NAME"]

    assert target(stack.functions[function]["FunctionName"]) == f"${{AWS::StackName}}-{name}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_is_where_the_template_says(function: str) -> None:
    _, name = DEVELOPMENT.functions[function]["Handler"].rsplit(".", 1)

    assert callable(getattr(handler_of(DEVELOPMENT, function), name))


# The API


def registered_routes(api: APIGatewayRestResolver) -> set[tuple[str, str]]:
    return {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", route.path))
        for route in [*api._static_routes, *api._dynamic_routes]
        for method in as_list(route.method)
    }


@pytest.mark.parametrize("function", WITH_ROUTES)
def test_the_api_leads_to_the_routes_that_a_handler_has_and_to_no_other(function: str) -> None:
    routes = {(s["Method"], s["Path"]) for s in sources(DEVELOPMENT.functions[function], "Api")}

    assert registered_routes(handler_of(DEVELOPMENT, function).api) == routes


@pytest.mark.parametrize("function", APIS)
def test_health_and_the_consoles_files_alone_are_open_to_everybody(function: str) -> None:
    routes = sources(DEVELOPMENT.functions[function], "Api")

    assert [is_open(route) for route in routes] == [function in OPEN_TO_EVERYBODY] * len(routes)


@pytest.mark.parametrize("function", WITH_ROUTES)
def test_what_is_open_at_the_gate_is_open_in_the_function(function: str) -> None:
    api = handler_of(DEVELOPMENT, function).api

    assert (api.scope is None) == (function in OPEN_TO_EVERYBODY)


def test_the_api_leads_to_the_files_of_the_console_and_to_nothing_else_there() -> None:
    routes = {
        (s["Method"], s["Path"]) for s in sources(DEVELOPMENT.functions["ConsoleFunction"], "Api")
    }
    paths = handler_of(DEVELOPMENT, "ConsoleFunction").pages()

    assert {("get", re.sub("^/assets/.*", "/assets/{file}", path)) for path in paths} == routes


def test_no_two_functions_have_the_same_route() -> None:
    functions = DEVELOPMENT.functions.values()
    routes = [(s["Method"], s["Path"]) for f in functions for s in sources(f, "Api")]

    assert len(routes) == len(set(routes)) == 16


# Queues


@pytest.mark.parametrize("function", SUBSCRIBERS)
def test_a_queue_waits_long_enough_for_its_function_and_has_a_dead_letter_queue(
    stack: Stack, function: str
) -> None:
    (source,) = sources(stack.functions[function], "SQS")
    queues = stack.resources("AWS::SQS::Queue")
    queue = queues[target(source["Queue"])]

    assert queue["VisibilityTimeout"] >= 6 * stack.functions[function]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert target(queue["RedrivePolicy"]["deadLetterTargetArn"]) in queues
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_queue_is_a_subscribers_or_for_dead_letters(stack: Stack) -> None:
    for name, queue in stack.resources("AWS::SQS::Queue").items():
        if "RedrivePolicy" in queue:
            assert f"{name.removesuffix('Queue')}Function" in SUBSCRIBERS
        else:
            assert name.endswith("DeadLetterQueue")
            assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def allowed_senders(stack: Stack) -> dict[str, Any]:
    """For each queue that its policy lets somebody send to: on what condition."""
    senders: dict[str, Any] = {}
    for policy in stack.resources("AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            named = {target(resource) for resource in as_list(statement["Resource"])}
            assert named == {target(queue) for queue in policy["Queues"]}
            if statement["Effect"] == "Allow":
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert statement["Action"] == "sqs:SendMessage"
                assert not named & senders.keys()
                senders |= dict.fromkeys(named, statement["Condition"])
    return senders


def test_a_queue_takes_events_from_its_own_rule_only(stack: Stack) -> None:
    expected = {}
    for rule, properties in stack.resources("AWS::Events::Rule").items():
        (queue,) = properties["Targets"]
        only_from_the_rule = {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}
        expected[target(queue["Arn"])] = only_from_the_rule
        expected[target(queue["DeadLetterConfig"]["Arn"])] = only_from_the_rule

    assert allowed_senders(stack) == expected


def test_what_a_rule_cannot_deliver_goes_where_the_queue_puts_what_is_not_handled(
    stack: Stack,
) -> None:
    queues = stack.resources("AWS::SQS::Queue")

    for rule in stack.resources("AWS::Events::Rule").values():
        for queue in rule["Targets"]:
            redrive = queues[target(queue["Arn"])]["RedrivePolicy"]
            assert queue["DeadLetterConfig"]["Arn"] == redrive["deadLetterTargetArn"]


@pytest.mark.parametrize("function", SUBSCRIBERS)
def test_a_subscriber_is_sent_exactly_the_events_that_it_decodes(
    stack: Stack, function: str
) -> None:
    name = function.removesuffix("Function")
    rule = stack.resources("AWS::Events::Rule")[f"{name}Rule"]
    pattern = rule["EventPattern"]
    subscriber = handler_of(stack, function).subscriber
    assert isinstance(subscriber, Subscriber)

    sent = {
        (event_class.source, event_class.__name__)
        for event_class in published_classes()
        if event_class.source in pattern["source"]
        and event_class.__name__ in pattern["detail-type"]
    }

    assert sent == set(subscriber._decoder._classes)
    assert {source for source, _ in sent} == set(pattern["source"])
    assert {event_type for _, event_type in sent} == set(pattern["detail-type"])
    assert [target(queue["Arn"]) for queue in rule["Targets"]] == [f"{name}Queue"]


def test_every_event_has_a_subscriber(stack: Stack) -> None:
    rules = stack.resources("AWS::Events::Rule").values()
    sent = {event_type for rule in rules for event_type in rule["EventPattern"]["detail-type"]}

    assert sent == {event_class.__name__ for event_class in published_classes()}


# Tables and streams


@pytest.mark.parametrize("function", RELAYS)
def test_a_relay_gets_what_is_added_to_its_outbox_and_puts_aside_what_never_succeeds(
    stack: Stack, function: str
) -> None:
    (source,) = sources(stack.functions[function], "DynamoDB")
    filters = [json.loads(f["Pattern"]) for f in source["FilterCriteria"]["Filters"]]

    assert target(source["Stream"]) == f"{service_of(function)}Outbox"
    assert filters == [{"eventName": ["INSERT"]}]
    assert source["StartingPosition"] == "TRIM_HORIZON", "what was written before is sent as well"
    assert source["BisectBatchOnFunctionError"] is True
    assert 0 < source["MaximumRecordAgeInSeconds"] < 24 * 60 * 60, "a stream keeps records a day"
    on_failure = target(source["DestinationConfig"]["OnFailure"]["Destination"])
    assert on_failure == f"{function.removesuffix('Function')}DeadLetterQueue"
    # The whole batch comes again: a report of single failures is not heeded everywhere.
    assert "FunctionResponseTypes" not in source


def test_every_outbox_streams_what_is_added_to_it_to_one_relay_and_keeps_it(stack: Stack) -> None:
    tables = stack.resources("AWS::DynamoDB::Table")
    outboxes = [name for name in tables if name.endswith("Outbox")]
    relayed = [target(s["Stream"]) for r in RELAYS for s in sources(stack.functions[r], "DynamoDB")]

    assert sorted(relayed) == sorted(outboxes)
    for outbox in outboxes:
        assert tables[outbox]["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
        assert "TimeToLiveSpecification" not in tables[outbox]


def test_idempotency_keys_are_forgotten(stack: Stack) -> None:
    tables = stack.resources("AWS::DynamoDB::Table")

    for table in ("Customers", "Orders"):
        ttl = tables[table]["TimeToLiveSpecification"]
        assert ttl == {"AttributeName": "expiresAt", "Enabled": True}


# Layers


def test_the_layers_are_built_for_what_the_functions_run_on_unless_somebody_says_otherwise() -> (
    None
):
    makefile = (ROOT / "layers/dependencies/Makefile").read_text()
    built_for = dict(re.findall(r"^(\w+) \?= (.*)$", makefile, re.MULTILINE))

    for function in DEVELOPMENT.functions.values():
        assert function["Runtime"] == built_for["PYTHON_RUNTIME"]
        assert function["Architectures"] == [built_for["LAMBDA_ARCHITECTURE"]]


def test_every_function_has_all_layers(stack: Stack) -> None:
    for function in stack.functions.values():
        layers = {target(layer) for layer in function["Layers"]}
        assert layers == set(stack.resources("AWS::Serverless::LayerVersion"))


def test_nothing_in_the_code_knows_an_emulators_name() -> None:
    for folder in ("layers", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            names = re.findall(
                "localstack|ministack|nx-?27017|moto", path.read_text(), re.IGNORECASE
            )
            assert not names, path
