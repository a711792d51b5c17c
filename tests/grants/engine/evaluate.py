"""The second engine: ministack's evaluator, run by the emulator's interpreter, on the same questions.

It is made to see what AWS tells an engine about a request: the context wins over what the emulator would
guess, as in local/enforcing.py.
"""

import json
import sys
from typing import Any

from ministack.core import iam_evaluator

_guess = iam_evaluator._resolve_condition_key


def _from_context(key: str, ctx: iam_evaluator.EvalContext) -> object:
    name = key.lower()
    return ctx.service_context.get(name, None if name.startswith(("lambda:", "aws:source")) else _guess(key, ctx))


def decide(case: dict[str, Any], policies: list[dict[str, Any]]) -> bool:
    """Decide one case as AWS combines identity and resource policies."""
    arn = case["principal"]
    is_role = arn.startswith("arn:")
    ctx = iam_evaluator.EvalContext(
        principal_arn=arn,
        principal_type="AssumedRole",
        principal_account=arn.split(":")[4] if is_role else "",
        action=case["action"],
        resource_arn=case["resource"],
        region="ap-northeast-1",
        service_context={name.lower(): value for name, value in case["context"].items()},
    )
    resource = None if case["resourcePolicy"] is None else policies[case["resourcePolicy"]]
    if resource is not None and case["besides"] is not None:
        resource = {**resource, "Statement": [*resource["Statement"], *policies[case["besides"]]["Statement"]]}
    if not is_role:
        service = arn if arn.endswith(".amazonaws.com") else None
        found = iam_evaluator.evaluate_resource_policy(resource, ctx, service=service)
        return bool(found.decision == "Allow")
    identity = [iam_evaluator.parse_policy_document(policies[place]) for place in case["identity"]]
    result = iam_evaluator.evaluate(ctx, identity)
    if resource is not None:
        # A key and a role let nobody in whom their own policy does not name, directly or by the account.
        is_required = case["action"].startswith(("kms:", "sts:"))
        result = iam_evaluator.combine_resource_policy(result, ctx, resource, case["account"], required=is_required)
    return bool(result.decision == "Allow")


if __name__ == "__main__":
    iam_evaluator._resolve_condition_key = _from_context
    question = json.load(sys.stdin)
    json.dump([decide(case, question["policies"]) for case in question["cases"]], sys.stdout)
