"""The line of an error that says something, in the words of the frameworks themselves."""

import pytest

from python_backend.original.errors import first_line

GRAPH = """Graph execution error:

Detected at node map/while/DecodeJpeg defined at (most recent call last):
<stack traces unavailable>
Unknown image file format.
\t [[{{node map/while/DecodeJpeg}}]] [Op:__inference_signature_wrapper_f_93]"""
TRACED = """Graph execution error:

Detected at node net/mul defined at (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main

  File "/home/me/net.py", line 7, in call

Incompatible shapes: [8,7,8] vs. [8,8,8]
\t [[{{node net/mul}}]] [Op:__inference_call_93]"""
USER_CODE = """in user code:

    File "/home/me/keras_file.py", line 32, in call  *
        return list(tf.nest.flatten(model(values)))
    File "/site-packages/keras/src/utils/traceback_utils.py", line 122, in error_handler  **
        raise e.with_traceback(filtered_tb) from None

    ValueError: Exception encountered when calling LSTM.call().

    \x1b[1mInput tensor `l_1:0` enters the loop with shape (1, 5).\x1b[0m

    Arguments received by LSTM.call():
      • mask=None
"""
PLAIN_USER_CODE = """in user code:

    File "/home/me/net.py", line 3, in call  *
        return x + "1"

    ValueError: no such sum
"""
DESERIALIZED = """<class 'Functional'> could not be deserialized properly. Please ensure that components are.

config={'module': 'keras.src.models.functional', 'class_name': 'Functional'}.

Exception encountered: Could not locate class 'MyLayer'. Make sure it is decorated.

Full object config: {'module': None, 'class_name': 'MyLayer'}
"""
STEPS = """Failed to export the model with torch.export. \x1b[96mThis is step 1/3\x1b[0m of exporting. Next steps:
- Modify the model code for `torch.export.export` to succeed.
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n  the reason\nand a page of context", "the reason"),
        ("\x1b[1mthe reason\x1b[0m", "the reason"),
        (
            "{{function_node __inference_signature_wrapper_<lambda>_71}} Invalid row split size.",
            "Invalid row split size.",
        ),
        (GRAPH, "Unknown image file format."),
        (TRACED, "Incompatible shapes: [8,7,8] vs. [8,8,8]"),
        (USER_CODE, "Input tensor `l_1:0` enters the loop with shape (1, 5)."),
        (PLAIN_USER_CODE, "no such sum"),
        (DESERIALIZED, "Could not locate class 'MyLayer'. Make sure it is decorated."),
        ("Graph is empty.\n\nException encountered: ", "Graph is empty."),
        ("Graph execution error:", "Graph execution error:"),
        (STEPS, "Failed to export the model with torch.export. This is step 1/3 of exporting. Next steps:"),
    ],
)
def test_lines_that_every_error_has_are_passed_over(text, line):
    assert first_line(ValueError(text)) == f"ValueError: {line}"


@pytest.mark.parametrize("outer", [STEPS, "", "Graph execution error:"])
def test_an_error_that_says_nothing_itself_is_told_by_its_cause(outer):
    error = RuntimeError(outer)
    error.__cause__ = AssertionError("expected sympy.Symbol\nand more")
    assert first_line(error) == "AssertionError: expected sympy.Symbol"
    error.__cause__ = error
    assert first_line(error).startswith("RuntimeError")


def test_an_error_that_says_something_is_not_told_by_its_cause():
    error = RuntimeError("the reason")
    error.__cause__ = AssertionError("of the reason")
    assert first_line(error) == "RuntimeError: the reason"
