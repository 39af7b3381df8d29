"""Public functions say what they take and what they return."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "torc_server"
VIEWS = ("blueprints/", "dashboard/")  # their parameters are those of the route and of the schemas


def _public_functions():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not name.startswith(VIEWS):
                decorators = " ".join(map(ast.unparse, node.decorator_list))
                if "click." not in decorators and "command." not in decorators:  # click calls those with the options
                    yield f"{name}: {node.name}()", node


def test_each_public_function_of_a_module_has_a_docstring_and_types():
    found = dict(_public_functions())
    assert len(found) > 100
    for place, function in found.items():
        given = function.args
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        assert ast.get_docstring(function), place
        assert function.returns, place
        assert all(each.annotation for each in parameters if each), place
