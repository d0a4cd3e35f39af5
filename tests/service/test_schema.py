"""Requests made up from the OpenAPI document: whatever they are, nothing is a server's error."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from running_service import ADMIN, fill, running
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

EXAMPLES = 12


def test_no_made_up_request_is_a_servers_error(tmp_path):
    with running(tmp_path / "root", queue=True) as service, service.client() as client:
        fill(client)
        schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
        n_operations = n_requests = 0
        for result in schema.get_all_operations():
            operation = result.ok()
            n_operations += 1

            @given(case=operation.as_strategy())
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def ask(case):
                nonlocal n_requests
                n_requests += 1
                answer = case.call(
                    base_url=service.url, headers={"Authorization": f"Bearer {ADMIN}"}
                )
                case.validate_response(
                    answer, checks=[not_a_server_error, response_schema_conformance]
                )

            ask()
        assert n_operations > 30 and n_requests > 10 * n_operations
        fill(client, "still-here")
