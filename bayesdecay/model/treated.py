r"""A treatment in the design of a reactivation model: which arm each row was given, and what its effect varies with.

In: a :class:`~bayesdecay.model.matrices.Design` and the arm of each row. Out: the same design with more columns, so
that of arm k, given to a row (:math:`d_k = 1`) or not,

.. math:: \operatorname{logit} p = \dots + x \cdot b + \sum_k d_k\,(\tau_{0k} + x \cdot \tau_k) .

The columns that an effect varies with are standardised over the rows of the fit, so :math:`\tau_{0k}` is the effect on
an average user. Latent interest enters an effect by its posterior mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesdecay import names
from bayesdecay.model.matrices import Design
from bayesdecay.model.terms import Terms

__all__ = ["Treatment"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """The arms of an experiment, and the features that their effects vary with.

    ``control`` is the arm that the ``arms`` are compared with; ``moderators`` are names of features with a slope, and
    of interest.
    """

    control: str
    arms: tuple[str, ...]
    moderators: tuple[str, ...]

    @classmethod
    def of(cls, terms: Terms, *, arms: Sequence[Hashable]) -> Treatment:
        """Let the effects vary with all features that have a slope, and with interest if it is an input.

        The first of the arms is the control.
        """
        latent = (names.INTEREST,) if terms.formula.interest else ()
        control, *others = map(str, arms)
        return cls(control=control, arms=tuple(others), moderators=(*terms.slopes, *latent))

    def moderating(self, terms: Terms, design: Design) -> Floats:
        """Values (row, moderator) that the effects vary with."""
        values = design.x[:, : len(terms.slopes)]
        if terms.formula.interest:
            values = np.column_stack([values, design.mean_level])
        return values

    def design(self, terms: Terms, design: Design, arm: Integers) -> Design:
        """Put the effects' columns behind the features: of each arm one for itself, and one a moderator.

        ``arm`` (row,) is 0 for control and else one more than the arm's place. A row's missing features are missing in
        the effect of its own arm too, so a pattern of missing features becomes one for each arm.
        """
        values = np.column_stack([np.ones(len(design.x)), self.moderating(terms, design)])
        given = arm[:, None] == np.arange(1, len(self.arms) + 1)
        wide = (given[:, :, None] * values[:, None, :]).reshape(len(arm), -1)
        n_arms, n_columns = len(self.arms) + 1, values.shape[1]
        pattern = np.where(design.pattern > 0, 1 + (design.pattern - 1) * n_arms + arm, 0)
        roots = [np.zeros((design.x.shape[1] + wide.shape[1], design.x.shape[1]))]
        for root in design.root[1:]:
            for own in range(n_arms):
                effects = np.zeros((n_arms - 1, n_columns, root.shape[1]))
                if own:
                    effects[own - 1, 1 : 1 + len(terms.slopes)] = root[: len(terms.slopes)]
                roots.append(np.concatenate([root, effects.reshape(-1, root.shape[1])]))
        return replace(design, x=np.column_stack([design.x, wide]), pattern=pattern, root=np.stack(roots))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Treatment:
        """Read back what :meth:`to_dict` gave."""
        return cls(**{**plain, "arms": tuple(plain["arms"]), "moderators": tuple(plain["moderators"])})
