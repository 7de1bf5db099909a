from understudy_client.tables import aligned


def test_columns_are_aligned_left_and_right_without_trailing_blanks() -> None:
    assert aligned([("a", "n", ""), ("long", "10", "x")], right={1}) == ["a      n", "long  10  x"]
