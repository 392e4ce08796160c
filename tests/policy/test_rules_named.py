"""Every rule that can refuse is named in one place: what metrics may count by."""

import ast
from pathlib import Path

import bekend_policy.decide as deciding
from bekend_policy.decide import RULES


def test_every_rule_that_the_decision_refuses_by_is_in_the_list() -> None:
    path = Path(deciding.__file__)
    refused = set()
    for name in ("decide.py", "justification.py"):
        for node in ast.walk(ast.parse((path.parent / name).read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_deny" and node.args:
                refused |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            # A justification's fault is a tuple: its rule, a reason and a remedy.
            if isinstance(node, ast.Tuple) and len(node.elts) == 3 and name == "justification.py":
                refused |= {node.elts[0].value} if isinstance(node.elts[0], ast.Constant) else set()
    assert len(refused) > 15
    assert refused <= set(RULES)
    assert len(set(RULES)) == len(RULES)
