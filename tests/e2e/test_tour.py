"""docs/tour.md, step by step."""

from tests.e2e.tour import play, shape_of


def test_every_step_of_the_tour_prints_what_the_page_shows(bundle: None) -> None:
    compared = 0
    for step in play():
        if step.shown is not None:
            # A slow machine may have more to say: another alarm, another day.
            missing = shape_of(step.shown) - shape_of(step.printed)
            assert not missing, step.script
            compared += 1
    assert compared > 8
