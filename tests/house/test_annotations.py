"""Public functions and methods say what they take and what they return."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "torc_server"
VIEWS = ("blueprints/", "dashboard/")  # their parameters are those of the route and of the schemas


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def _public_functions():
    for name, module in _modules():
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not name.startswith(VIEWS):
                decorators = " ".join(map(ast.unparse, node.decorator_list))
                if "click." not in decorators and "command." not in decorators:  # click calls those with the options
                    yield f"{name}: {node.name}()", node


def _public_methods():
    for name, module in _modules():
        for owner in ast.walk(module):
            for node in owner.body if isinstance(owner, ast.ClassDef) else ():
                if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                    yield f"{name}: {owner.name}.{node.name}()", node


def _parameters(function):
    given = function.args
    return list(filter(None, [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]))


def test_each_public_function_of_a_module_has_a_docstring_and_types():
    found = dict(_public_functions())
    assert len(found) > 100
    for place, function in found.items():
        assert ast.get_docstring(function), place
        assert function.returns, place
        assert all(each.annotation for each in _parameters(function)), place


def test_each_public_method_has_types():
    found = dict(_public_methods())
    assert len(found) > 200
    for place, method in found.items():
        is_static = any(ast.unparse(each) == "staticmethod" for each in method.decorator_list)
        parameters = _parameters(method)[0 if is_static else 1 :]
        assert all(each.annotation for each in parameters), place
        assert method.returns or method.name == "__init__", place
