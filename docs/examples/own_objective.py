"""Losses of your own: here the exponential of the gap."""

import kantor


def critic(real, fake):  # scores [N], [N] -> [N], to be minimised
    return (fake - real).exp()


def generator(real, fake):
    return (-fake).exp()


kantor.objective("exponential", critic, generator)

if __name__ == "__main__":
    run = kantor.train(
        "glyphs",
        time_budget="1m",
        overrides={
            "objective.kind": "custom",
            "objective.name": "exponential",
            "objective.penalties.r1.at.kind": "real",  # penalties go with any losses
            "objective.penalties.r1.of": "zero-centred",
            "objective.penalties.r1.weight": 1.0,
        },
    )
