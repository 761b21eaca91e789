"""template.yaml and samconfig.toml: rules of every deployed stack that no emulator enforces, or that the code relies on."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from infra.local.loops import LOOP
from rest_api.waiting import MAX_SECONDS
from tests.permissions import PERMISSIONS
from tests.samples import published_classes
from tests.template import (
    DEVELOPMENT,
    EMULATOR,
    PRODUCTION,
    ROOT,
    STACKS,
    Properties,
    Stack,
    handler_of,
    is_open,
    load_template,
    section,
    sources,
    target,
)

FUNCTIONS = DEVELOPMENT.functions
SUBSCRIBERS = [name for name, f in FUNCTIONS.items() if sources(f, "SQS")]
RELAYS = [name for name, f in FUNCTIONS.items() if sources(f, "DynamoDB")]
APIS = ["CustomersApiFunction", "OrdersApiFunction", "OrderHistoryApiFunction"]
PUBLIC = ["HealthFunction", "ConsoleFunction"]
TABLES = {
    "Customers", "CustomersOutbox", "CustomersIdempotency", "Orders", "OrdersOutbox", "OrdersIdempotency",
}  # fmt: skip


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> Stack:
    return STACKS[request.param]


def variables(stack: Stack, function: str) -> Properties:
    found: Properties = stack.functions[function]["Environment"]["Variables"]
    return found


def role_of(stack: Stack, function: str) -> Properties:
    return stack.resources("AWS::IAM::Role")[target(stack.functions[function]["Role"])]


def permissions(stack: Stack, function: str) -> set[str]:
    """Return each action that the function's role allows, with each resource."""
    policies = role_of(stack, function)["Policies"]
    statements = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return {
        f"{action} {target(resource)}"
        for s in statements
        for action in as_list(s["Action"])
        for resource in as_list(s["Resource"])
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_function_and_subscriber_is_in_its_loop() -> None:
    raw = yaml_parse((ROOT / "template.yaml").read_text())
    looped = {
        name.removeprefix(LOOP): set(loop[1])
        for name, loop in raw["Resources"].items()
        if name.startswith(LOOP)
    }

    for loop, there in (("Functions", FUNCTIONS), ("Subscribers", SUBSCRIBERS)):
        names = {name.removesuffix("Function") for name in there}
        assert looped[loop] == names, f"template.yaml, list of Fn::ForEach::{loop}"
        assert set(raw["Mappings"][loop]) == names, f"template.yaml, Mappings.{loop}"
    assert looped["Services"] == {name.removesuffix("OutboxRelayFunction") for name in RELAYS}
    receivers = {name.removesuffix("Function") for name in [*SUBSCRIBERS, *RELAYS]}
    assert looped["DeadLetters"] == receivers, "template.yaml, list of Fn::ForEach::DeadLetters"


def test_role_of_a_function_allows_its_permissions_and_its_log_only(stack: Stack) -> None:
    secret = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${MongoDbSecretName}-??????"
    assert set(stack.functions) == set(PERMISSIONS), "tests/permissions.py: one entry per function"
    for function, expected in PERMISSIONS.items():
        log_group = target(stack.functions[function]["LoggingConfig"]["LogGroup"])
        allowed = {f"logs:{action} {log_group}" for action in ("CreateLogStream", "PutLogEvents")}
        if "MONGODB_SECRET_NAME" in variables(stack, function):
            allowed.add(f"secretsmanager:GetSecretValue {secret}")

        assert permissions(stack, function) == expected | allowed, (
            f"{function}: its role in template.yaml differs from tests/permissions.py"
        )


def test_role_is_assumed_by_lambda_for_one_function_with_the_policies_that_it_needs(
    stack: Stack,
) -> None:
    for function, properties in stack.functions.items():
        role = role_of(stack, function)
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        expected = ["TracingPolicy"] * (properties["Tracing"] == "Active")
        expected += ["NetworkInterfacesPolicy"] * ("VpcConfig" in properties)

        assert target(properties["Role"]) == function.replace("Function", "Role")
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert [target(policy) for policy in role["ManagedPolicyArns"]] == expected
        assert "PermissionsBoundary" not in role


def test_code_of_a_function_cannot_manage_network_interfaces() -> None:
    policies = STACKS["prod in a VPC"].resources("AWS::IAM::ManagedPolicy")
    allow, deny = policies["NetworkInterfacesPolicy"]["PolicyDocument"]["Statement"]

    assert all(action.startswith("ec2:") for action in allow["Action"])
    assert (deny["Effect"], deny["Action"]) == ("Deny", "ec2:*")
    assert deny["Condition"]["ArnLike"]["lambda:SourceFunctionArn"]["Fn::Sub"].endswith(
        ":function:${AWS::StackName}-*"
    )


def test_function_is_named_as_it_logs(stack: Stack) -> None:
    for function, properties in stack.functions.items():
        service = target(variables(stack, function)["POWERTOOLS_SERVICE_NAME"])
        name = service.removeprefix("${AWS::StackName}-")
        log_groups = stack.resources("AWS::Logs::LogGroup")
        log_group = log_groups[target(properties["LoggingConfig"]["LogGroup"])]

        assert target(properties["FunctionName"]) == service
        assert log_group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/${{AWS::StackName}}-{name}"}
        assert len(f"-{name}") + 39 <= 64, "docs/deploy.md: the longest stack name"


def test_functions_outlive_the_longest_wait_and_a_read_after_it(stack: Stack) -> None:
    for function, read_seconds in (("OrdersApiFunction", 4), ("OrderHistoryApiFunction", 8)):
        assert MAX_SECONDS + read_seconds < stack.functions[function]["Timeout"] < 29


def test_lambda_never_drops_metrics_or_the_report_of_an_unhandled_error() -> None:
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        for properties in DEVELOPMENT.with_parameters(LogLevel=level).functions.values():
            logging = properties["LoggingConfig"]

            assert (logging["LogFormat"], logging["SystemLogLevel"]) == ("JSON", "WARN")
            assert logging["ApplicationLogLevel"] == ("DEBUG" if level == "DEBUG" else "INFO")


def test_the_view_is_reached_by_secret_on_aws_and_by_uri_on_emulators() -> None:
    for name, stack in STACKS.items():
        given = variables(stack, "OrderHistoryProjectionFunction").keys()
        expected = "MONGODB_URI" if name == "emulator" else "MONGODB_SECRET_NAME"
        assert given & {"MONGODB_URI", "MONGODB_SECRET_NAME"} == {expected}


def test_a_function_has_the_layers_that_it_imports_and_no_others(stack: Stack) -> None:
    has_issuer = bool(stack.parameters["JwtIssuer"])
    for function, properties in stack.functions.items():
        has_api = function in {*APIS, "HealthFunction"}
        has_view = "MONGODB" in str(list(variables(stack, function)))
        expected = [
            *("DependenciesLayer", "CommonLayer"),
            *["ApiLayer"] * has_api,
            *["MongoDbLayer"] * has_view,
            *["JwtLayer"] * (has_issuer and function in APIS),
        ]

        assert [target(layer) for layer in properties["Layers"]] == expected, function
    assert ("JwtLayer" in stack.resources("AWS::Serverless::LayerVersion")) == has_issuer


def test_code_is_deployed_gradually_only_where_it_is_asked_for(stack: Stack) -> None:
    resources = list(stack.transformed.values())
    types = [resource["Type"] for resource in resources]
    aliases = len(FUNCTIONS) if stack.parameters["GradualDeployment"] == "on" else 0

    assert types.count("AWS::Lambda::Alias") == aliases
    groups = [r for r in resources if r["Type"] == "AWS::CodeDeploy::DeploymentGroup"]
    assert len(groups) == aliases
    for group in groups:
        (alarm,) = group["Properties"]["AlarmConfiguration"]["Alarms"]
        assert target(alarm["Name"]).removesuffix("Errors") + "Function" in FUNCTIONS


def routes(function: str) -> set[tuple[str, str]]:
    return {(s["Method"], s["Path"]) for s in sources(FUNCTIONS[function], "Api")}


def test_the_api_has_the_routes_of_the_handlers_and_no_others() -> None:
    for function in [*APIS, "HealthFunction"]:
        api = handler_of(function).api
        registered = {
            (method.lower(), re.sub(r"<(\w+)>", r"{\1}", route.path))
            for route in api.routes
            for method in as_list(route.method)
        }
        missing = [f"{method} {path}" for method, path in registered - routes(function)]
        assert missing == [], f"template.yaml, {function}, Events: add these"
        unknown = [f"{method} {path}" for method, path in routes(function) - registered]
        assert unknown == [], f"template.yaml, {function}, Events: {api.scope} has no such routes"
        assert (api.scope is None) == (function in PUBLIC)
    files = handler_of("ConsoleFunction").files()
    paths = {re.sub("^/assets/.*", "/assets/{file}", path) for path in files}
    assert {("get", path) for path in paths} == routes("ConsoleFunction")


def test_health_and_the_files_of_the_console_alone_need_no_credentials(stack: Stack) -> None:
    transformed = stack.transformed.values()
    (api,) = (r["Properties"] for r in transformed if r["Type"] == "AWS::ApiGateway::RestApi")
    public = {route for function in PUBLIC for route in routes(function)}
    for path, methods in api["Body"]["paths"].items():
        for method, operation in methods.items():
            is_public = (method, path) in public or method == "options"
            signed = stack.parameters["ApiAuthorizer"] == "AWS_IAM" and not is_public

            assert ({"AWS_IAM": []} in operation.get("security", [])) == signed, f"{method} {path}"
            assert "credentials" not in operation["x-amazon-apigateway-integration"]
    for function in FUNCTIONS:
        assert all(is_open(r) == (function in PUBLIC) for r in sources(FUNCTIONS[function], "Api"))


def test_every_api_path_has_a_preflight_route_without_credentials() -> None:
    for function in APIS:
        events = [e["Properties"] for e in FUNCTIONS[function]["Events"].values()]
        preflight = [event for event in events if event.get("Method") == "options"]

        assert {event["Path"] for event in preflight} == {path for _, path in routes(function)}, (
            f"template.yaml, {function}, Events: each path has one route with Method: options"
        )
        assert all(is_open(event) for event in preflight)


def test_every_method_is_throttled_and_public_routes_are_throttled_lower(stack: Stack) -> None:
    settings = {
        (s["HttpMethod"], s["ResourcePath"].replace("/~1", "/").replace("~1", "/")): s
        for s in stack.resources("AWS::Serverless::Api")["Api"]["MethodSettings"]
    }

    default = settings.pop(("*", "/*"))
    assert default["ThrottlingRateLimit"] == stack.parameters["ApiRequestsPerSecond"]
    assert set(settings) == {("GET", path) for f in PUBLIC for _, path in routes(f)}
    assert all(s["ThrottlingRateLimit"] <= 20 for s in settings.values())


def test_gateway_responses_are_problem_documents() -> None:
    for name, stack in STACKS.items():
        responses = stack.resources("AWS::Serverless::Api")["Api"]["GatewayResponses"]
        for response, properties in responses.items():
            (template,) = properties["ResponseTemplates"].values()
            headers = properties["ResponseParameters"]["Headers"]
            filled = template.replace("$context.error.messageString", r'"a \"quoted\" text"')
            problem = json.loads(filled.replace("$context.requestId", "0-1"))

            assert problem["correlationId"] == "0-1"
            assert problem.keys() >= {"type", "title", "detail"}
            status = {"THROTTLED": 429, "REQUEST_TOO_LARGE": 413}.get(response)
            assert status in (None, problem.get("status"))
            assert headers["Content-Type"] == "'application/problem+json'"
            assert ("Access-Control-Allow-Origin" in headers) == (name == "prod with tokens")
        unknown_route = responses["MISSING_AUTHENTICATION_TOKEN"]["StatusCode"]
        assert unknown_route == (403 if stack.parameters["ApiAuthorizer"] == "AWS_IAM" else 404)
        assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= responses.keys()


def test_line_of_the_access_log_is_json_for_any_request() -> None:
    line = PRODUCTION.resources("AWS::Serverless::Api")["Api"]["AccessLogSetting"]["Format"]

    # The client chooses these, or they come with quotation marks.
    for variable in ("error.messageString", "path", "identity.userAgent", "protocol"):
        assert f"$context.{variable}" not in line
    for value in ("429", "-", "THROTTLED", "/customers/{customerId}"):
        assert json.loads(re.sub(r"\$context(\.\w+)+", value, line))["status"] == value


def test_optional_parameters_change_nothing_unless_given() -> None:
    given = PRODUCTION.with_parameters(
        WebAclArn="acl", PermissionsBoundaryArn="boundary", HistoryReservedConcurrency="20"
    )
    for stack, expected in ((PRODUCTION, None), (given, "20")):
        api = stack.functions["OrderHistoryApiFunction"]
        roles = [r for r in stack.transformed.values() if r["Type"] == "AWS::IAM::Role"]

        assert api.get("ReservedConcurrentExecutions") == expected
        assert ("WebAclAssociation" in stack.all_resources) == bool(expected)
        assert len(roles) == len(FUNCTIONS) + 1, "one for each function, and one for CodeDeploy"
        for role in roles:
            assert role["Properties"].get("PermissionsBoundary") == (expected and "boundary")


def test_outage_of_sixteen_hours_does_not_dead_letter_messages(stack: Stack) -> None:
    queues = stack.resources("AWS::SQS::Queue")
    for function in SUBSCRIBERS:
        (source,) = sources(stack.functions[function], "SQS")
        queue = queues[target(source["Queue"])]
        timeout, redrive = queue["VisibilityTimeout"], queue["RedrivePolicy"]
        dead_letters = target(redrive["deadLetterTargetArn"])

        assert timeout >= 6 * stack.functions[function]["Timeout"]
        assert timeout * redrive["maxReceiveCount"] >= 16 * 60 * 60
        assert dead_letters == function.replace("Function", "DeadLetterQueue")
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert all(queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60 for queue in queues.values())
    readers = {f"{function.removesuffix('Function')}Queue" for function in SUBSCRIBERS}
    assert readers == {name for name, queue in queues.items() if "RedrivePolicy" in queue}
    for function in [*SUBSCRIBERS, *RELAYS]:
        dead_letters = target(variables(stack, function)["DEAD_LETTER_QUEUE_URL"])
        assert dead_letters == function.replace("Function", "DeadLetterQueue")


def test_queue_takes_events_from_its_own_rule_only_and_in_production_by_tls(stack: Stack) -> None:
    allowed: dict[str, Any] = {}
    without_tls: set[str] = set()
    for policy in stack.resources("AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            named = [target(resource) for resource in as_list(statement["Resource"])]
            assert named == [target(queue) for queue in policy["Queues"]]
            if statement["Effect"] == "Deny" and statement["Action"] == "sqs:*":
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                without_tls |= set(named)
            if statement["Effect"] == "Allow":
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert statement["Action"] == "sqs:SendMessage"
                allowed |= dict.fromkeys(named, statement["Condition"])
    expected: dict[str, Any] = {}
    for rule, properties in stack.resources("AWS::Events::Rule").items():
        (queue,) = properties["Targets"]
        own = {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}
        expected |= {target(queue["Arn"]): own, target(queue["DeadLetterConfig"]["Arn"]): own}

    assert allowed == expected
    production = stack.parameters["Posture"] == "production"
    assert without_tls == (set(stack.resources("AWS::SQS::Queue")) if production else set())


def test_subscriber_is_sent_exactly_the_events_that_it_handles(stack: Stack) -> None:
    rules = stack.resources("AWS::Events::Rule")
    assert rules.keys() == {name.replace("Function", "Rule") for name in SUBSCRIBERS}
    for function in SUBSCRIBERS:
        rule = rules[function.replace("Function", "Rule")]
        handled = handler_of(function).subscriber._handler.event_classes
        place = f"template.yaml, Mappings.Subscribers.{function.removesuffix('Function')}"

        types = rule["EventPattern"]["detail-type"]
        assert sorted(types) == sorted(e.__name__ for e in handled), f"{place}.Events"
        sources_of_rule = rule["EventPattern"]["source"]
        assert sorted(sources_of_rule) == sorted({e.source for e in handled}), f"{place}.Sources"
        assert [target(t["Arn"]) for t in rule["Targets"]] == [
            function.replace("Function", "Queue")
        ]
    sent = {event for rule in rules.values() for event in rule["EventPattern"]["detail-type"]}
    assert sent == {event.__name__ for event in published_classes()}


def test_relay_reads_new_events_in_order_and_singles_out_failing_records(stack: Stack) -> None:
    for function in RELAYS:
        (source,) = sources(stack.functions[function], "DynamoDB")
        (pattern,) = (json.loads(f["Pattern"]) for f in source["FilterCriteria"]["Filters"])
        on_failure = target(source["DestinationConfig"]["OnFailure"]["Destination"])

        assert target(source["Stream"]) == function.replace("RelayFunction", "")
        assert pattern == {"eventName": ["INSERT"]}
        assert source["StartingPosition"] == "TRIM_HORIZON"
        assert source["BisectBatchOnFunctionError"] is True
        assert 0 < source["MaximumRecordAgeInSeconds"] < 24 * 60 * 60, "streams keep a day"
        assert on_failure == function.replace("Function", "DeadLetterQueue")
        # One emulator ignores reports of single failures. Parallel batches would not be in order.
        assert not {"FunctionResponseTypes", "ParallelizationFactor"} & source.keys()


def test_events_expire_only_with_a_retention_and_are_archived_on_aws() -> None:
    puts = {"dynamodb:PutItem CustomersOutbox", "dynamodb:PutItem OrdersOutbox"}
    writers = {f for f in FUNCTIONS if puts & permissions(DEVELOPMENT, f)}
    retained = PRODUCTION.with_parameters(OutboxRetentionDays="30", EventArchive="on")
    for stack, days in ((DEVELOPMENT, "0"), (PRODUCTION, "0"), (retained, "30")):
        for function in {*writers, "OrderHistoryRebuildFunction"}:
            assert variables(stack, function)["OUTBOX_RETENTION_DAYS"] == days, function
    archive = retained.all_resources["Archive"]
    assert target(archive["Properties"]["SourceArn"]) == "EventBus"
    assert (archive["Properties"]["RetentionDays"], archive["UpdateReplacePolicy"]) == (0, "Retain")
    emulator = DEVELOPMENT.with_parameters(EventArchive="on")
    for stack in (emulator, *STACKS.values()):
        assert "Archive" not in stack.all_resources


def test_outboxes_stream_events_and_items_with_an_expiry_expire(stack: Stack) -> None:
    tables = stack.resources("AWS::DynamoDB::Table")

    assert set(tables) == TABLES
    for name, table in tables.items():
        stream, expiry = table.get("StreamSpecification"), table.get("TimeToLiveSpecification")
        is_outbox, expires = name.endswith("Outbox"), name.endswith(("Outbox", "Idempotency"))
        assert stream == ({"StreamViewType": "NEW_IMAGE"} if is_outbox else None)
        assert expiry == ({"AttributeName": "expiresAt", "Enabled": True} if expires else None)


def test_pending_orders_are_resumed_in_production_and_where_the_parameter_asks_for_it() -> None:
    for stack, expected in (
        (DEVELOPMENT, False),
        (DEVELOPMENT.with_parameters(ResumePendingOrders="on"), True),
        (PRODUCTION.with_parameters(ResumePendingOrders="posture"), True),
        (PRODUCTION.with_parameters(ResumePendingOrders="off"), False),
    ):
        table = stack.resources("AWS::DynamoDB::Table")["Orders"]
        indexes = table.get("GlobalSecondaryIndexes", [])
        (schedule,) = sources(stack.functions["OrdersDeadlineFunction"], "Schedule")

        assert [index["IndexName"] for index in indexes] == ["Waiting"] * expected
        assert len(table["AttributeDefinitions"]) == 1 + expected
        assert schedule["State"] == ("ENABLED" if expected else "DISABLED")


def test_production_keeps_tables_and_a_failed_first_deployment_leaves_none(stack: Stack) -> None:
    production = stack.parameters["Posture"] == "production"
    protected = stack.with_parameters(DeletionProtection="on").resources("AWS::DynamoDB::Table")
    for name in TABLES:
        table = stack.all_resources[name]

        assert table["DeletionPolicy"] == ("RetainExceptOnCreate" if production else "Delete")
        assert table["UpdateReplacePolicy"] == ("Retain" if production else "Delete")
        assert table["Properties"]["DeletionProtectionEnabled"] is False
        assert protected[name]["DeletionProtectionEnabled"] is True
        assert table["Properties"]["SSESpecification"]["SSEEnabled"] is production


SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
LEFT_TO_THE_DEFAULT = {"PythonRuntime", "Architecture", "LogLevel", "Version", "MongoDbUri", "AwsEndpointUrl"}  # fmt: skip


def test_each_section_sets_every_parameter_that_matters_for_security_or_cost() -> None:
    for environment in ("dev", "prod"):
        expected = load_template()["Parameters"].keys() - LEFT_TO_THE_DEFAULT
        assert section(environment).keys() == expected


def test_a_build_for_aws_is_not_cached_and_expands_loops() -> None:
    for environment in ("dev", "prod"):
        settings = SAMCONFIG[environment]["global"]["parameters"]
        build = SAMCONFIG[environment].get("build", {}).get("parameters", {})
        assert "cached" not in settings | build
        assert settings["language_extensions"]
        deploy = SAMCONFIG[environment]["deploy"]["parameters"]
        assert "CAPABILITY_AUTO_EXPAND" in deploy["capabilities"]


def test_stacks_of_samconfig_break_no_rule(stack: Stack) -> None:
    in_vpc = {"VpcSubnetIds": "subnet-1", "VpcHasInternetAccess": "yes"}

    assert stack.refusals() == stack.with_parameters(**in_vpc).refusals() == []
    for days, archive in (("30", "on"), ("90", "off"), ("3650", "on")):
        expiring = stack.with_parameters(OutboxRetentionDays=days, EventArchive=archive)
        assert expiring.refusals() == []
    assert DEVELOPMENT.with_parameters(OutboxRetentionDays="30").refusals() == [], "no archive"


def test_dangerous_deployment_is_refused() -> None:
    dev, prod = section("dev"), section("prod")
    token = {"JwtIssuer": "https://issuer"}
    dangerous: list[tuple[dict[str, str], str]] = [
        (prod, "Give AlarmEmail"),
        ({**dev, "AllowPublicApi": "no"}, "Give JwtIssuer or ApiAuthorizer=AWS_IAM"),
        ({**prod, **token, "AlarmEmail": "a@b"}, "not both"),
        ({**dev, **token, "VpcSubnetIds": "subnet-1"}, "NAT gateway"),
        ({**dev, "JwtIssuer": "http://issuer"}, "JwtIssuer does not match"),
        ({**dev, "MongoDbUri": "mongodb://user:password@host/"}, "readable in the functions"),
        ({**dev, "MongoDbSecretName": ""}, "Give MongoDbSecretName"),
        (EMULATOR, "Posture is None"),
        ({**dev, "OutboxRetentionDays": "30"}, "give EventArchive=on, or EventArchive=off"),
        *(
            (
                {**dev, "OutboxRetentionDays": days, "EventArchive": "on"},
                "0 (for ever), or at least 30",
            )
            for days in (*map(str, range(1, 30)), "-30", "030", "30.5", "")
        ),
    ]
    for parameters, reason in dangerous:
        refusals = Stack(**parameters).refusals()
        assert [refusal for refusal in refusals if reason in refusal], (reason, refusals)


def test_code_of_the_functions_names_no_emulator() -> None:
    names = re.compile("localstack|ministack|nx-?27017|moto", re.IGNORECASE)
    for folder in ("layers", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not names.findall(path.read_text()), path
