"""[guide]: controls that a generator is given with the latent, see kantor.controls."""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from kantor.config.base import Section, Weight

Control = Literal["colour", "place", "extent"]
_ORDER = get_args(Control)


def _listed(value: Any) -> Any:
    """Accepts "place,extent" and "none"."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    return [] if parts in ([""], ["none"]) else parts


def _in_order(controls: list[Control]) -> list[Control]:
    """Each once, in one order: networks have their numbers in it."""
    return sorted(set(controls), key=_ORDER.index)


class GuideConfig(Section):
    """Guided latents: colour, place and extent of the subject, measured in the training images, which you can ask for later."""

    controls: Annotated[list[Control], Field(max_length=8), BeforeValidator(_listed), AfterValidator(_in_order)] = []
    """Any of colour, place and extent; generator and critic are given them. See docs/guide.md."""
    weight: Weight = 0.5
    """Weight of the mean squared difference between controls asked for and those of the generated image, in standard deviations of
    the training images, in the generator's loss."""
