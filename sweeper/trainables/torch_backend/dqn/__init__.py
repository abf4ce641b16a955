"""DQN; read in this order: settings, rollout, replay, loss, update, trainer."""
