"""What the evidence says of the machine."""

from conversion.release.evidence import machine

CARD = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 42\nBus Location: \t 0000:00:06.0\n"


def test_the_processor_and_the_cards_are_named(tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n"
    )
    assert machine(tmp_path)["gpus"] == []
    for bus in ("0000:00:06.0", "0000:00:07.0"):
        (tmp_path / "driver/nvidia/gpus" / bus).mkdir(parents=True)
        (tmp_path / "driver/nvidia/gpus" / bus / "information").write_text(CARD)
    told = machine(tmp_path)
    assert told["processor"] == "Some CPU"
    assert told["gpus"] == ["NVIDIA H100 80GB HBM3"] * 2
