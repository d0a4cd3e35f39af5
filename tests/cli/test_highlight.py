from weft.integrations.cli.highlight import Pair, strong_spans, styled, window

TEXT = "The unaffordable house, number 7, was unsold."


def pair(word: str, met: str, contribution: float) -> Pair:
    start = TEXT.index(met) if met else 0
    return Pair(word, start, start + len(met), contribution)


def words(*pairs: Pair) -> list[str]:
    return [TEXT[a:b] for a, b in strong_spans(pairs, TEXT)]


def test_pieces_become_whole_words_and_overlaps_are_merged() -> None:
    assert words(pair("dear", "afford", 0.9), pair("cost", "able", 0.8)) == ["unaffordable"]


def test_weak_matches_markers_punctuation_and_function_words_are_left_out() -> None:
    found = words(
        pair("home", "house", 0.8),
        pair("seven", "7", 0.5),
        pair("sold", "unsold", 0.4),
        pair("", "number", 0.9),
        pair("?", "number", 0.9),
        pair("the", "number", 0.9),
        pair("thing", "The", 0.9),
        pair("thing", ",", 0.9),
        pair("thing", "", 0.9),
    )
    assert found == ["house", "7"]


def test_nothing_to_highlight() -> None:
    assert strong_spans([], TEXT) == []
    assert styled(TEXT, [], 100).plain == TEXT


def test_the_window_holds_most_highlights() -> None:
    assert window([(3, 5)], 50, 100) == (0, 50)
    start, end = window([(10, 15), (800, 810), (820, 830)], 1000, 100)
    assert start <= 800 and end >= 830 and end - start == 100
    assert window([(990, 1000)], 1000, 100) == (900, 1000)


def test_a_long_passage_is_cut_around_its_highlights_between_words() -> None:
    text = "filler " * 200 + "needle" + " filler" * 200
    at = text.index("needle")
    shown = styled(text, [(at, at + 6)], 120)
    assert "needle" in shown.plain and len(shown.plain) <= 126
    assert shown.plain.startswith("… ") and shown.plain.endswith(" …")
    assert shown.plain.removeprefix("… ").split()[0] == "filler"
    (span,) = shown.spans
    assert shown.plain[span.start : span.end] == "needle"
