"""MLflow's REST protocol, word for word, over the services of tracking. Its odd names and shapes stop in this package."""
