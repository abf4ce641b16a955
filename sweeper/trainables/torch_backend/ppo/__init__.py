"""Proximal Policy Optimisation (Schulman et al. 2017, arXiv:1707.06347), with RLlib's details.

Read in this order:

1. `settings`: the hyperparameters, under RLlib's names.
2. `rollout`: collects a train batch with all replicas.
3. `advantages`: generalised advantage estimation.
4. `loss`: the clipped surrogate objective, the value loss, the KL penalty, the entropy bonus.
5. `update`: epochs of minibatches, Adam, the adaptive KL coefficient.
6. `trainer`: one iteration after another, evaluation and checkpoints.

`fused_loss` and `fused_densities` are the same loss with a hand-derived gradient; `loss` says when
it is used.
"""
