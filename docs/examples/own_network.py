"""A network of your own: a critic that sees an image as one long row of numbers."""

from torch import nn

import kantor


@kantor.critic("rows")
class Rows(nn.Module):
    traits = kantor.Traits(mixes_batch=False)

    def __init__(self, config, spec, classes):
        super().__init__()
        numbers, hidden = spec.height * spec.width * spec.channels, int(config.options["hidden"])
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(numbers, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, x, labels=None, condition=None):
        return self.layers(x.contiguous())[:, 0]


if __name__ == "__main__":
    own = {"critic.kind": "custom", "critic.name": "rows", "critic.options.hidden": 256, "critic.init": "he"}
    run = kantor.train("glyphs", time_budget="1m", overrides=own)
