import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.errors import SettingsError
from lpdseg.workflows.slides.shard import parse_shard, take_shard


@given(count=st.integers(0, 40), total=st.integers(1, 9))
def test_shards_are_the_whole_and_share_nothing(count: int, total: int) -> None:
    parts = [take_shard(range(count), (number, total)) for number in range(1, total + 1)]
    assert sorted(item for part in parts for item in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert take_shard(range(count), None) == list(range(count))


def test_shards_are_written_as_parts() -> None:
    assert parse_shard("2/8") == (2, 8) and parse_shard("1/1") == (1, 1)
    for text in ("2", "a/b", "1/", "-1/3", "1.5/3", "²/3"):
        with pytest.raises(SettingsError, match="write it as 2/8"):
            parse_shard(text)
    for text in ("0/3", "4/3"):
        with pytest.raises(SettingsError, match="there is no shard"):
            parse_shard(text)
    for shard in ((1, 0), (0, 2), (3, 2), (-1, 2)):
        with pytest.raises(SettingsError, match=f"there is no shard {shard[0]}/{shard[1]}; they are 1/n to n/n"):
            take_shard(range(9), shard)
    with pytest.raises(SettingsError, match="there is no shard 1/0"):
        parse_shard("1/0")
