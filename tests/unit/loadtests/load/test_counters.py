import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loadtests.load.counters import formed, read_counters

PAGE = """\
# HELP nv_inference_count rows
# TYPE nv_inference_count counter
nv_inference_count{model="m",version="1"} 40
nv_inference_count{model="m",version="2"} 60
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="m",version="2"} 25
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="2"} 50
nv_inference_request_success{model="idle",version="1"} 7
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="m",version="2"} 100000
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{model="m",version="2"} 250000
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.5
"""


@pytest.fixture
def metrics_url():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_each_model_did_is_what_grew_over_all_versions(metrics_url):
    after = read_counters(metrics_url)
    assert after["m"]["count"] == 100
    before = {"m": dict.fromkeys(after["m"], 0.0), "idle": after["idle"]}
    (model, found), *more = formed(before, after).items()
    assert (model, more) == ("m", [])
    assert (found.requests, found.rows_an_execution) == (50, 4.0)
    assert (found.queue_ms, found.compute_ms) == (2.0, 5.0)


def test_a_model_that_failed_always_has_no_executions(metrics_url):
    after = {"m": dict.fromkeys(read_counters(metrics_url)["m"], 0.0) | {"request_success": 2.0}}
    assert formed({}, after)["m"].rows_an_execution is None


def test_metrics_that_cannot_be_read_are_an_os_error():
    with pytest.raises(OSError, match="refused"):
        read_counters("127.0.0.1:1")


def test_of_a_model_that_was_loaded_anew_meanwhile_nothing_is_told():
    before = {"m": dict.fromkeys(("count", "exec_count", "request_success"), 100.0)}
    before["m"] |= {"queue_duration_us": 900.0, "compute_infer_duration_us": 900.0}
    more = {"m": {name: value + 100.0 for name, value in before["m"].items()}}
    assert formed(before, more)["m"].requests == 100
    assert formed(before, more, ["m"]) == {}
    assert formed(before, {"m": more["m"] | {"queue_duration_us": 10.0}}) == {}
