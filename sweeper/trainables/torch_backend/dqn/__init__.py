"""DQN of all replicas of a trial; read the files in this order.

settings            hyperparameters, with RLlib's names and defaults
rollout             steps the environments into the replay memories
actions             epsilon-greedy actions
replay              keeps steps in rings, draws transitions, takes priorities
  replay_settings   how steps are kept and drawn; the size of a ring
  sum_tree          draws slots in proportion to their priorities
  observation_store the dtype in which observations are stored
  memory            how much memory all this takes, for `plan` too
networks            Q networks, online and target, by autograd
  packed_q          the standard Q network with a hand-derived gradient
loss                the TD loss or the distributional loss, by autograd
  fused_loss        the TD loss of the standard network with a hand-derived gradient
update              one gradient step; chooses between the two forms of the loss
trainer             puts it together: collect, learn, evaluate, save, restore

This file imports nothing, because `plan` imports `memory` and must not load torch.
"""
