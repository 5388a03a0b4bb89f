"""How the model of columns is learned: ``python -m governance.detect.training.train_columns``. Not needed to use it."""
