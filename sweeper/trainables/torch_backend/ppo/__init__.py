"""PPO; read in this order: settings, rollout, advantages, loss, update, trainer."""
