"""A model whose load hangs on demand: one process of it dies while the other one goes on loading."""

from pathlib import Path

ALWAYS = "always"
_MODEL = """import os, pathlib, signal, time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        hang = pathlib.Path(__file__).with_name("hang")
        begun = hang.with_name("begun")
        if hang.exists():
            if args["model_instance_name"].endswith("_1"):
                begun.touch()
                time.sleep(600)
            # The other one is past its look at "hang" by then.
            while not begun.exists():
                time.sleep(0.05)
            begun.unlink()
            time.sleep(0.5)
            if hang.read_text() != "always":
                hang.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", tensor)]) for tensor in tensors]
"""


def make_hanging(folder: Path) -> Path:
    """Make the echo in `folder` such a model, with two processes; gives the file that makes its next load hang.

    That load removes it, unless ALWAYS stands in it: then every load hangs.
    """
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 2"))
    (folder / "1" / "model.py").write_text(_MODEL)
    return folder / "1" / "hang"
