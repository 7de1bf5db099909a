from dataclasses import replace

from conversion.fingerprint import fingerprint


def test_another_target_is_another_release(spec):
    (spec.folder / "net.keras").write_bytes(b"weights")
    assert fingerprint(spec) == fingerprint(spec)
    assert fingerprint(spec)[0] != fingerprint(replace(spec, target="26.08"))[0]
