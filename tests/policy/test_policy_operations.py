"""The policy's plain values: what is left out is the safe choice, and nothing can be changed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from bridge.policy.operations import STRICT_PATH_RULES, Api, Operation, PathRules, Policy
from bridge.policy.requirement import NO_REQUIREMENT, Requirement


def test_what_an_api_leaves_out_denies() -> None:
    assert Api("a", ("i",), ()) == Api(
        name="a",
        issuers=("i",),
        operations=(),
        hosts=(),
        base_path="/",
        audiences=None,
        realm="",
        resource=None,
        mode="enforce",
        unmatched="deny",
        cors_preflight="allow",
        hint_requirements=False,
        path=PathRules(False, False, False, False),
    )


def test_an_operation_demands_a_token_unless_it_is_public() -> None:
    assert Operation("o", ("/",)) == Operation(
        name="o", paths=("/",), methods=(), public=False, requirement=Requirement((), (), None)
    )


def test_a_policy_denies_unknown_hosts() -> None:
    assert Policy(()).unmatched_host == "deny"


def test_no_age_is_no_demand_and_age_zero_is_one() -> None:
    assert NO_REQUIREMENT.max_age is None
    assert Requirement(max_age=0) != NO_REQUIREMENT


@pytest.mark.parametrize(
    ("value", "field"),
    [
        pytest.param(STRICT_PATH_RULES, "allow_semicolon", id="path-rules"),
        pytest.param(NO_REQUIREMENT, "scopes", id="requirement"),
        pytest.param(Operation("o", ("/",)), "public", id="operation"),
        pytest.param(Api("a", ("i",), ()), "mode", id="api"),
        pytest.param(Policy(()), "unmatched_host", id="policy"),
    ],
)
def test_a_policy_cannot_be_changed(value: object, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, True)
