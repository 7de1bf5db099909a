"""Which texts of an exported program pass for a graph: torch has Python read sizes, guards and names."""

import pytest

from python_backend.original.exported_text import code_in, is_guard, is_size, is_structure

RUN = "__import__('os').system('true')"


@pytest.mark.parametrize(
    "text",
    [
        "Mul(Integer(6), FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2)))",
        "TruncToInt(Mul(Float('1.5', precision=53), ToFloat(Symbol('s77'))))",
        "Max(1, s0//2) - 3*s1 + ceiling(s0/2)",
        "-oo",
    ],
)
def test_sizes_are_arithmetic(text):
    assert is_size(text)


@pytest.mark.parametrize(
    "text",
    [
        RUN,
        f"Symbol('s0') if {RUN} else 1",
        "Symbol('().__class__')",
        "Symbol.__init__",
        "eval('1')",
        "lambdify(s0, s0)",
        "[x for x in (1,)]",
        "(1 #\n)",
        "s0 +",
    ],
)
def test_sizes_are_nothing_else(text):
    assert not is_size(text)


@pytest.mark.parametrize(
    "text",
    [
        "((6*L['x'].size()[0]) % (L['flat_args'][0].stride()[1] // 2)) == 0",
        "math.trunc(0.5*torch.sym_float(L['x'].size()[0])) == 4 and max(L['x'].size()[1], 2) != -1",
    ],
)
def test_guards_compare_sizes(text):
    assert is_guard(text)


@pytest.mark.parametrize(
    "text",
    [
        RUN,
        "torch.os.system('true') == 0",
        "torch.load('x') == 0",
        "L['x'].numpy().tofile('x') == 0",
        "math.__loader__ == 0",
        "eval('1') == 1",
        "(lambda: 1)() == 1",
    ],
)
def test_guards_do_nothing_else(text):
    assert not is_guard(text)


def test_a_structure_imports_nothing():
    tuples = '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [%s]}]'
    leaf, named = '{"type": null, "context": null, "children_spec": []}', '"[\\"a\\", \\"b.c\\"]"'
    assert is_structure(tuples % leaf)
    assert is_structure(tuples % leaf.replace("null,", f"{named},", 2).replace(named, '"builtins.dict"', 1))
    enumeration = '"{\\"__enum__\\": 1, \\"fqn\\": \\"os:X\\", \\"name\\": \\"x\\"}"'
    factory = '{"default_factory_module": "os", "default_factory_name": "x", "dict_context": []}'
    for context in (enumeration, factory):
        assert not is_structure((tuples % leaf).replace('"null"', context))
    assert not is_structure("no tree")


def graph(**changed):
    """A program with one operator, and what a test changes of its graph."""
    node = {
        "target": "torch.ops.aten.upsample.default",
        "inputs": [{"name": "mode", "arg": {"as_string": f"any text, {RUN}"}}],
        "outputs": [{"as_tensor": {"name": "layer-1.y@1"}}],
        "metadata": {"stack_trace": f"any text, {RUN}"},
    }
    return {"graph_module": {"graph": {"nodes": [node], **changed}}, "guards_code": []}


def test_a_graph_of_operators_holds_no_code():
    assert code_in(graph(), lambda name: name == "torch.ops.aten.upsample.default") is None
    assert code_in(graph(), lambda name: False) == "an operator, 'torch.ops.aten.upsample.default'"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"nodes": [{"target": "torch.os.system"}]}, "an operator, 'torch.os.system'"),
        ({"nodes": [{"target": "torch.ops.load_library"}]}, "an operator"),
        ({"nodes": [{"target": "_operator.methodcaller"}]}, "an operator"),
        ({"nodes": [{"inputs": [{"arg": {"as_operator": "torch.load"}}]}]}, "an operator, 'torch.load'"),
        ({"inputs": [{"as_tensor": {"name": f"x={RUN}"}}]}, "a name"),
        # It becomes a guard of the input.
        ({"inputs": [{"as_string": f"' or {RUN}"}]}, "a name"),
        # A table's keys are names: one that is called as a field that nobody evaluates hides nothing.
        ({"tensor_values": {"metadata": {"sizes": [{"as_expr": {"expr_str": RUN}}]}}}, "a size"),
        ({"tensor_values": {f"x={RUN}": {}}}, "a name"),
    ],
)
def test_code_in_a_graph_is_told(changed, told):
    assert code_in(graph(**changed), lambda name: True).startswith(told)
