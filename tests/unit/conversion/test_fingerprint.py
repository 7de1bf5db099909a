from dataclasses import replace

from conversion.fingerprint import fingerprint, sha256_folder


def test_another_target_is_another_release(spec):
    (spec.folder / "net.keras").write_bytes(b"weights")
    assert fingerprint(spec) == fingerprint(spec)
    assert fingerprint(spec)[0] != fingerprint(replace(spec, target="26.08"))[0]


def test_a_folders_hash_is_of_names_and_contents_alone(tmp_path):
    def folder(called, files):
        (tmp_path / called).mkdir()
        for name, content in files.items():
            (tmp_path / called / name).write_bytes(content)
        return sha256_folder(tmp_path / called)

    first = folder("a", {"model.onnx": b"graph", "model.onnx.data": b"weights"})
    assert folder("b", {"model.onnx": b"graph", "model.onnx.data": b"weights"}) == first
    assert folder("c", {"model.onnx": b"graph", "model.onnx.data": b"other"}) != first
    assert folder("d", {"model.onnx": b"graph", "model.data": b"weights"}) != first
