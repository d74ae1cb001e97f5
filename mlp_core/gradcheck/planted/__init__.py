"""Bugs to plant in the shipped backward pass, and ways to break the checker: the self-test must notice every one."""

from mlp_core.gradcheck.planted.activations import ACTIVATION_BUGS
from mlp_core.gradcheck.planted.bug import Bug
from mlp_core.gradcheck.planted.checkers import CHECKERS
from mlp_core.gradcheck.planted.ingredients import INGREDIENT_BUGS
from mlp_core.gradcheck.planted.layers import LAYER_BUGS
from mlp_core.gradcheck.planted.losses import LOSS_BUGS
from mlp_core.gradcheck.planted.norms import NORM_BUGS
from mlp_core.gradcheck.planted.state import STATE_BUGS

BUGS: tuple[Bug, ...] = (*LAYER_BUGS, *ACTIVATION_BUGS, *LOSS_BUGS, *NORM_BUGS, *INGREDIENT_BUGS, *STATE_BUGS)

__all__ = ["BUGS", "CHECKERS", "Bug"]
