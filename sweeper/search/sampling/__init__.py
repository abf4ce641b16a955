"""Search algorithms on Optuna's samplers; the only room that imports Optuna."""
