"""Evidence as conversions leave it, made by hand: one function a kind of release."""

import copy

HOSTILE = "<script>alert('no')</script>\"&amp; {{ 7 * 7 }} ünï \N{PILE OF POO} </style>"


def timing(ms, ratio, rounds=40, others=0.03):
    return {
        "rounds": rounds,
        "ms": ms,
        "range_ms": [ms * 0.9, ms * 1.7],
        "ratio": ratio,
        "ratio_quartiles": [ratio * 0.95, ratio * 1.08],
        "others": others,
    }


def side_by_side(size, original_ms, ratio):
    own = timing(original_ms / ratio, ratio)
    return {
        size: {
            "original_ms": original_ms,
            "original_range_ms": [original_ms * 0.97, original_ms * 1.21],
            "twin_ms": own["ms"],
            "twin_range_ms": own["range_ms"],
            **{key: own[key] for key in ("ratio", "ratio_quartiles", "rounds", "others")},
        }
    }


def accuracy(loss=0.0, metric="agreement", items=200):
    return {
        "metric": metric,
        "items": items,
        "original": 1.0 if metric == "agreement" else 0.9135,
        "twin": (1.0 if metric == "agreement" else 0.9135) - loss,
        "loss": loss,
        "interval": [loss - 0.0097, loss + 0.0086],
        "max_loss": 0.001,
        "cosine": 0.99982 if metric == "agreement" else None,
    }


def candidate(name="tf2onnx fp32", fate="chosen", reason="", **more):
    exporter, _, precision = name.partition(" ")
    return {
        "name": name,
        "exporter": exporter,
        "rewrites": [],
        "precision": precision or "fp32",
        "calibration": "",
        "kept_fp32": [],
        "microbatch": 0,
        "fate": fate,
        "reason": reason,
        "nodes": 77,
        "bytes": 1709398,
        "parity": None,
        "accuracy": None,
        "quick": {},
        "timings": {},
        **more,
    }


def outputs(*names, worst=0.0613):
    return {
        name: {"max_abs": worst / 1e4, "max_rel": worst / 77, "worst": worst / (n + 1)} for n, name in enumerate(names)
    }


def arrangement(instances, threads, dynamic_batching, gain, failure="", joined_rows=1):
    """Figures of one way to serve the twin."""
    return {
        "instances": instances,
        "threads": threads,
        "dynamic_batching": dynamic_batching,
        "joined_rows": joined_rows,
        "rounds": 3,
        "one": None if failure else {"p50_ms": 1.3912 / gain, "p99_ms": 2.1945 / gain},
        "many": None if failure else {"per_s": 812.634 * gain, "p50_ms": 7.7411 / gain, "p99_ms": 16.428 / gain},
        "gain": None if failure else gain,
        "gain_quartiles": None if failure else [gain * 0.93, gain * 1.11],
        "failure": failure,
    }


def served(how="spec", reason="", tried=()):
    """How the twin is served: with what was tried last."""
    chosen = tried[-1] if tried else arrangement(2, 1, True, 1.0)
    return {
        **{key: chosen[key] for key in ("instances", "threads", "dynamic_batching", "joined_rows")},
        "how": how,
        "reason": reason,
        "cores": 2 if tried else None,
        "clients": 8 if tried else None,
        "margin": 0.05,
        "arrangements": list(tried),
    }


def arranged():
    """Every way to serve it that two cores offer; one fails, and the last one is chosen."""
    tried = (
        arrangement(2, 1, True, 1.0),
        arrangement(2, 1, False, 1.0417),
        arrangement(1, 2, True, 1.0, failure="deadline of 10000 ms passed"),
        arrangement(1, 2, False, 1.2731),
    )
    return winning() | {"serving": served("measured", tried=tried)}


def searched(batches, names, found):
    """A search of one candidate, which was chosen."""
    return {
        "level": "fast",
        "objective": "geometric_mean",
        "batch_sizes": [1, 10, 100],
        "threads": 2,
        "budget_s": 900,
        "seconds": 20.1184,
        "wins": any(row["ratio"] > 1 for row in batches.values()),
        "chosen": "tf2onnx fp32",
        "candidates": [
            candidate(
                parity=outputs(*names),
                accuracy=found,
                timings={size: timing(row["twin_ms"], row["ratio"]) for size, row in batches.items()},
            )
        ],
    }


def compared(names):
    """How near the twin came at four batch sizes."""
    return {
        "atol": 0.0001,
        "rtol": 0.001,
        "of_largest": 0.0,
        "stress": {"atol": 0.0001, "rtol": 0.001, "of_largest": 1e-05},
        "batch_sizes": [1, 2, 7, 32],
        "worst": outputs(*names),
        "comparisons": [
            {"case": f"picture[{rows}, 128, 96, 3]", "rows": rows, "output": n, **values, "failure": None}
            for rows in (1, 2, 7, 32)
            for n, values in outputs(*names, worst=0.0613 / rows).items()
        ],
        "unfit": [],
    }


def made(ratios, *, names=("scores",), metric="agreement", name="classifier"):
    """Evidence of a release whose twin has these ratios by batch size, the only candidate."""
    originals = {1: 5.3225, 10: 17.3575, 100: 131.2825}
    batches = {}
    for size, ratio in ratios.items():
        batches |= side_by_side(str(size), originals[size], ratio)
    found = accuracy(metric=metric)
    return {
        "schema": 2,
        "name": name,
        "created": "2026-11-24T18:57:16+00:00",
        "fingerprint": "f8f384376ec1bad0aa308b98d135d320d62939bcc3f5e8b21fd827286471f98f",
        "source": {
            "format": "keras",
            "sha256": {"net.h5": "f7d1a65b09d78fcbae6d471c930321010a856e0288473f62e1be2bdc8ba9f5ac"},
        },
        "versions": {"python": "3.11.7", "numpy": "1.26.4", "onnx": "1.23.2"},
        "machine": {"processor": "Some CPU 9 @ 2.10GHz", "architecture": "x86_64", "system": "Linux", "cores": 2},
        "target": {
            "release": "24.10",
            "python": "3.10",
            "onnxruntime": "1.19.2",
            "opset": 21,
            "ir": 10,
            "loaded": True,
        },
        "inputs": [{"name": "picture", "dtype": "float32", "shape": ["batch", 128, 96, 3], "range": None}],
        "outputs": [{"name": n, "dtype": "float32", "shape": ["batch", 12], "range": None} for n in names],
        "graph": {
            "ir_version": 8,
            "opsets": {"ai.onnx": 18},
            "producer": "tf2onnx 1.17.0",
            "nodes": 163,
            "operators": {"Conv": 26, "Add": 5},
            "parameters": 437450,
            "bytes": 585492,
        },
        "search": searched(batches, names, found),
        "parity": compared(names),
        "accuracy": found,
        "speed": {"threads": 2, "batches": batches},
        "memory": {"original_mb": 662.81472, "twin_mb": 98.205696},
        "serving": served(),
        "prefer": "onnx",
        "files": {"hybrid/model.py": "5a401901c2cf8e407cd608516be089afea873f6eae690af36c1ce6d3939cbb5e"},
    }


def winning():
    return made({1: 8.6697, 10: 5.4017, 100: 4.4971})


def losing():
    return made({1: 0.9412, 10: 0.8535, 100: 0.8127}) | {"prefer": "original"}


def undecided():
    return made({1: 0.9412, 10: 0.9935})


def mixed():
    return made({1: 0.9412, 10: 1.3535, 100: 2.8127}) | {"prefer": "original up to 8 rows, onnx from 9 on"}


def eight_bits():
    """Every fate that a candidate can have, and eight bits chosen."""
    evidence = winning()
    chosen = evidence["search"]["candidates"][0]
    chosen |= {
        "name": "tf2onnx+onnxslim int8 (percentile, 2 layers fp32)",
        "precision": "int8",
        "rewrites": ["onnxslim"],
    }
    chosen |= {"calibration": "percentile", "kept_fp32": ["/stem/Conv_output_0", "/blocks.0/Conv"], "microbatch": 10}
    evidence["search"]["chosen"] = chosen["name"]
    quick = {"1": timing(0.5112, 1.39), "10": timing(2.2213, 1.46)}
    lost = "it loses 0.50% of agreement on 200 items (95 % interval -0.88% to 1.87%), allowed are 0.10%"
    evidence["search"]["candidates"] += [
        candidate("dynamo fp32", "failed", "Unsupported: aten::stft", nodes=0, bytes=0),
        candidate("tf2onnx fp64", "refused", "the graph cannot be served: opset 23 is above 21"),
        candidate(
            "tf2onnx fp32",
            "slower",
            "0.71 times as fast as the other",
            parity=outputs("scores"),
            accuracy=accuracy(),
            timings={"1": timing(0.7, 7.1147), "10": timing(3.9, 4.2161), "100": timing(52.4, 2.5405)},
        ),
        candidate(
            "tf2onnx int8 (minmax)",
            "accuracy",
            lost,
            parity=outputs("scores", worst=0.178),
            accuracy=accuracy(0.005),
            quick=quick,
        ),
        candidate(
            "tf2onnx int8 (entropy)", "parity", "the scores differ (worst 2.56)", parity=outputs("scores", worst=3.37)
        ),
        candidate("tf2onnx int8 (mse)", "skipped", "time was up", nodes=0, bytes=0),
    ]
    return evidence


def search_off():
    evidence = winning()
    evidence["search"]["level"] = "off"
    evidence["serving"] = served("default", "the search is off")
    return evidence


def unbatched():
    """No batch, so no accuracy; strings, whose values no figure compares; nothing told that is not needed."""
    evidence = made({1: 1.0021}, names=("label",))
    evidence |= {"accuracy": None, "memory": {"original_mb": None, "twin_mb": None}}
    evidence["search"] |= {"batch_sizes": [1]}
    evidence["search"]["candidates"][0]["accuracy"] = None
    evidence["parity"]["comparisons"][0] |= {"max_abs": None, "max_rel": None, "worst": None}
    evidence["parity"]["batch_sizes"] = []
    evidence["parity"]["unfit"] = [{"stress": "zeros", "reason": "the original itself fails there"}]
    del evidence["prefer"], evidence["target"], evidence["serving"]
    del evidence["parity"]["of_largest"], evidence["parity"]["stress"]
    return evidence


def untimed():
    evidence = made({})
    evidence["search"]["batch_sizes"] = []
    return evidence


def many_outputs():
    return made({1: 8.6697, 10: 5.4017}, names=[f"head/{n}:0" for n in range(60)])


def hostile():
    """Whatever a model's author may call things."""
    evidence = made({1: 8.6697}, names=(HOSTILE, "onset\N{RIGHT-TO-LEFT OVERRIDE}"), metric=HOSTILE, name=HOSTILE)
    evidence |= {"prefer": HOSTILE, "files": {HOSTILE: "5a"}, "versions": {HOSTILE: HOSTILE}}
    evidence["source"] = {"format": HOSTILE, "sha256": {HOSTILE: "f7"}}
    evidence["machine"]["processor"] = HOSTILE
    evidence["inputs"][0] |= {"name": HOSTILE, "shape": [HOSTILE, 3]}
    evidence["graph"] |= {"operators": {HOSTILE: 3}, "opsets": {HOSTILE: 18}}
    evidence["parity"]["unfit"] = [{"stress": HOSTILE, "reason": HOSTILE}]
    evidence["serving"] = served(
        "measured", tried=(arrangement(2, 1, True, 1.0, HOSTILE), arrangement(1, 2, True, 1.0))
    )
    evidence["parity"]["comparisons"][0] |= {"case": HOSTILE, "failure": HOSTILE}
    evidence["search"] |= {"chosen": HOSTILE, "level": HOSTILE, "objective": HOSTILE}
    one = evidence["search"]["candidates"][0]
    evidence["search"]["candidates"] = [
        {
            **copy.deepcopy(one),
            "name": HOSTILE,
            "reason": HOSTILE,
            "kept_fp32": [HOSTILE],
            "fate": fate,
            "exporter": HOSTILE,
        }
        for fate in ("chosen", "accuracy", HOSTILE)
    ]
    return evidence


ALL = (winning, losing, mixed, eight_bits, arranged, search_off, unbatched, untimed, many_outputs, hostile)
