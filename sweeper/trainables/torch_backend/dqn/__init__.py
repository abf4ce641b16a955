"""DQN of all replicas of a trial; read the files in this order.

settings            hyperparameters, with RLlib's names and defaults
rollout             steps the environments into the replay memories
actions             epsilon-greedy actions
../replay           keeps steps in rings, draws transitions, takes priorities
networks            Q networks, online and target, by autograd
  packed_q          the standard Q network with a hand-derived gradient
loss                the TD loss or the distributional loss, by autograd
  fused_loss        the TD loss of the standard network with a hand-derived gradient
update              one gradient step; chooses between the two forms of the loss
trainer             puts it together: collect, learn, evaluate, save, restore
"""
