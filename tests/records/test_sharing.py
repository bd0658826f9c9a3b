"""Equal parts of records are one object, and parts that differ in a type alone stay apart."""

from benchmarks.records.sharing import keep_head, shared, shared_head


def test_equal_parts_are_one_object() -> None:
    first, second = {"encoder": "cnn", "k": [1, 2.5]}, {"encoder": "cnn", "k": [1, 2.5]}
    assert shared(first) is shared(second)
    assert shared(first) == first


def test_numbers_of_different_types_stay_apart() -> None:
    for value in (1, 1.0, True):
        assert type(shared({"of": value})["of"]) is type(value)
        assert type(keep_head("fid", "", {"of": value})[2]["of"]) is type(value)


def test_heads_of_scores_are_shared_as_a_whole_and_their_names_alone() -> None:
    (a, b), other = (
        (keep_head("".join(["f", "id"]), "", {"k": 3}) for _ in range(2)),
        keep_head("fid", "", {"k": 4}),
    )
    assert a is b is shared_head("fid", "", {"k": 3})
    assert a[0] is other[0]
    assert other[2] == {"k": 4}


def test_parts_without_number_are_kept_as_they_are() -> None:
    """More parts than are remembered."""
    assert all(shared({"value": i}) == {"value": i} for i in range(40_000))
